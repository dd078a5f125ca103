package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

func TestFrames(t *testing.T) {
	var pipe bytes.Buffer
	for _, err := range []error{WriteMessage(&pipe, Reply{ID: 7}), WriteFrame(&pipe, Data, []byte("rows")), WriteFrame(&pipe, Data, nil)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct {
		kind    Kind
		content string
	}{{Message, `{"id":7}`}, {Data, "rows"}, {Data, ""}} {
		if kind, content, err := ReadFrame(&pipe); err != nil || kind != want.kind || string(content) != want.content {
			t.Errorf("%c %q %v, want %c %q", kind, content, err, want.kind, want.content)
		}
	}
	if _, _, err := ReadFrame(&pipe); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if err := WriteFrame(io.Discard, Data, make([]byte, MaxFrame+1)); err == nil {
		t.Error("a frame that is too long is written")
	}
	if err := WriteMessage(io.Discard, func() {}); err == nil {
		t.Error("what is no JSON is written")
	}
}

// FuzzReadFrame reads what a broken or hostile child may write.
func FuzzReadFrame(f *testing.F) {
	for _, seed := range []string{"", "m", "m\x00\x00\x00\x02{}", "d\x00\x00\x00\x00", "x\x00\x00\x00\x01a", "m\xff\xff\xff\xff", "d\x00\x00\x00\x05abc", "m\x04\x00\x00\x01"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		r := bytes.NewReader(input)
		kind, content, err := ReadFrame(r)
		switch {
		case len(input) == 0:
			if err != io.EOF {
				t.Fatalf("nothing: %v", err)
			}
		case err == nil:
			var again bytes.Buffer
			if err := WriteFrame(&again, kind, content); err != nil || !bytes.HasPrefix(input, again.Bytes()) || again.Len() != len(input)-r.Len() {
				t.Fatalf("%q is read as %q (%v)", input, again.Bytes(), err)
			}
		case err == io.EOF:
			t.Fatalf("%q ends as if it were whole", input)
		case errors.Is(err, ErrFrame) != (len(input) >= 5 && (input[0] != 'm' && input[0] != 'd' || binary.BigEndian.Uint32(input[1:5]) > MaxFrame)):
			t.Fatalf("%q: %v", input, err)
		}
	})
}
