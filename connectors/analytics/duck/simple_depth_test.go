//go:build cgo

package duck

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
)

// TestDeepJSONIsRefused: the engine would end the process, and with it every
// other table of the run.
func TestDeepJSONIsRefused(t *testing.T) {
	nested := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) + "\n" }
	out := put(t, t.TempDir(), map[string]string{"good.csv": "a\n1\n", "flat.ndjson": nested(450), "text.ndjson": `{"a": "` + strings.Repeat("[{", 5000) + `"}` + "\n",
		"deep.ndjson": `{"a": "x` + "\n" + nested(50000), "list.json": strings.Repeat("[", 50000) + strings.Repeat("]", 50000), "packed.ndjson.gz": nested(50000)})
	m := made{}.build(t, connectors.Publication{Dir: out})
	for name, want := range map[string]connectors.Outcome{"good": connectors.OK, "flat": connectors.OK, "text": connectors.OK,
		"deep": connectors.Failed, "list": connectors.Failed, "packed": connectors.Failed} {
		for _, r := range m.reply.Tables {
			if r.Table == name && (r.Outcome != want || want == connectors.Failed && !strings.Contains(r.Error, "500 deep")) {
				t.Errorf("%s is %s: %s", name, r.Outcome, r.Error)
			}
		}
	}
	if len(m.reply.Tables) != 6 {
		t.Errorf("there are %d tables", len(m.reply.Tables))
	}
}

func FuzzDepth(f *testing.F) {
	f.Add([]byte(`{"a": ["\"[", {}]}`), true)
	f.Add([]byte("]]}\n\"\\"), false)
	f.Fuzz(func(t *testing.T, text []byte, lines bool) {
		whole, pieces := depth{lines: lines}, depth{lines: lines}
		whole.read(text)
		for i := range text {
			pieces.read(text[i : i+1])
		}
		if whole != pieces || whole.deepest > len(text) || whole.now < 0 {
			t.Errorf("%+v in one piece, %+v in many", whole, pieces)
		}
	})
}
