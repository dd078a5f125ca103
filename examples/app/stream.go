package main

import (
	"bufio"
	"context"
	"crypto/sha1" //nolint:gosec // RFC 6455 section 1.3 asks for it
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxSlow  = 5 * time.Minute
	maxBytes = 1 << 30 // of /bytes
	maxFrame = 1 << 20 // of a WebSocket message
)

// streams are the answers that take long or are large. ctx ends them when the server stops.
func streams(ctx context.Context, mux *http.ServeMux, cfg config) {
	mux.HandleFunc("GET /slow", func(w http.ResponseWriter, r *http.Request) { slow(w, r, cfg.slow) })
	mux.HandleFunc("POST /echo", digest)
	mux.HandleFunc("PUT /echo", digest)
	mux.HandleFunc("GET /bytes", manyBytes)
	mux.HandleFunc("GET /sse", func(w http.ResponseWriter, r *http.Request) { events(ctx, w, r) })
	mux.HandleFunc("GET /ws", func(w http.ResponseWriter, r *http.Request) { webSocket(ctx, w, r) })
}

// number is a query parameter within bounds.
func number(r *http.Request, name string, fallback, most int64) (int64, error) {
	text := r.URL.Query().Get(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 || n > most {
		return 0, fmt.Errorf("%s is not a number from 0 to %d", name, most)
	}
	return n, nil
}

// slow answers after ?ms= milliseconds, without it after the configured time.
func slow(w http.ResponseWriter, r *http.Request, fallback time.Duration) {
	ms, err := number(r, "ms", fallback.Milliseconds(), maxSlow.Milliseconds())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if pause(r.Context(), time.Duration(ms)*time.Millisecond) {
		fmt.Fprintln(w, "done")
	}
}

// digest reads a body of any size and says what arrived.
func digest(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		problem(w, http.StatusBadRequest, "the body broke off")
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"bytes": n, "sha256": hex.EncodeToString(sum.Sum(nil))})
}

// manyBytes sends ?n= bytes, the numbers 0 to 255 over and over.
func manyBytes(w http.ResponseWriter, r *http.Request) {
	n, err := number(r, "n", 1<<20, maxBytes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	block := make([]byte, 32<<10)
	for i := range block {
		block[i] = byte(i)
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	for n > 0 {
		part := block[:min(n, int64(len(block)))]
		if _, err := w.Write(part); err != nil {
			return // the client is gone
		}
		n -= int64(len(part))
	}
}

// events sends ?count= server-sent events, one every ?ms= milliseconds; count 0 is without end.
func events(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	count, err := number(r, "count", 0, 1_000_000)
	ms, err2 := number(r, "ms", 1000, time.Hour.Milliseconds())
	if err := errors.Join(err, err2); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	both, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(ctx, cancel)()
	out := http.NewResponseController(w)
	for i := int64(0); count == 0 || i < count; i++ {
		if _, err := fmt.Fprintf(w, "id: %d\ndata: {\"n\":%d}\n\n", i, i); err != nil || out.Flush() != nil {
			return
		}
		if !pause(both, time.Duration(ms)*time.Millisecond) {
			return
		}
	}
}

// The opcodes of RFC 6455 section 5.2 that an echo needs.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xA
)

// webSocket sends back each message. It is written out here because this program may import nothing but the standard
// library.
func webSocket(ctx context.Context, w http.ResponseWriter, r *http.Request) {
	key := r.Header.Get("Sec-WebSocket-Key")
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") || key == "" || r.Header.Get("Sec-WebSocket-Version") != "13" {
		w.Header().Set("Sec-WebSocket-Version", "13")
		http.Error(w, "this is a WebSocket", http.StatusUpgradeRequired)
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this connection cannot be taken over", http.StatusInternalServerError)
		return
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Time{})                                        // a connection that is gone shows at the first read
	accept := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) //nolint:gosec // as above
	fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(accept[:]))
	if rw.Flush() != nil {
		return
	}
	// The read ends when the server stops; what follows then is the close frame.
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	code := echo(rw)
	var netErr net.Error
	if errors.As(code.err, &netErr) && netErr.Timeout() {
		code.status = 1001 // going away
	}
	if code.status != 0 {
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_ = writeFrame(rw, opClose, binary.BigEndian.AppendUint16(nil, code.status))
	}
}

// ending is why an echo ended, and with which status it is to be closed; 0: there is nobody to tell.
type ending struct {
	status uint16
	err    error
}

func echo(rw *bufio.ReadWriter) ending {
	var kind byte
	var message []byte
	for {
		final, op, payload, err := readFrame(rw.Reader)
		switch {
		case errors.Is(err, errFrame):
			return ending{1002, err}
		case err != nil:
			return ending{0, err}
		}
		switch op {
		case opClose:
			return ending{1000, nil}
		case opPing:
			err = writeFrame(rw, opPong, payload)
		case opPong:
		case opText, opBinary, opContinue:
			if op != opContinue {
				kind, message = op, nil
			}
			if message = append(message, payload...); len(message) > maxFrame {
				return ending{1009, nil}
			}
			if final {
				err = writeFrame(rw, kind, message)
			}
		default:
			return ending{1002, errFrame}
		}
		if err != nil {
			return ending{0, err}
		}
	}
}

var errFrame = errors.New("frame is malformed")

// readFrame reads one frame of a client, which masks its payload (RFC 6455 section 5.3).
func readFrame(r *bufio.Reader) (final bool, op byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return false, 0, nil, err
	}
	final, op = head[0]&0x80 != 0, head[0]&0x0f
	size := uint64(head[1] & 0x7f)
	if head[0]&0x70 != 0 || head[1]&0x80 == 0 {
		return false, 0, nil, errFrame
	}
	if size >= 126 {
		wide := make([]byte, 2)
		if size == 127 {
			wide = make([]byte, 8)
		}
		if _, err := io.ReadFull(r, wide); err != nil {
			return false, 0, nil, err
		}
		size = binary.BigEndian.Uint64(append(make([]byte, 8-len(wide)), wide...))
	}
	if size > maxFrame || op >= opClose && size > 125 {
		return false, 0, nil, errFrame
	}
	var mask [4]byte
	if _, err := io.ReadFull(r, mask[:]); err != nil {
		return false, 0, nil, err
	}
	payload = make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return false, 0, nil, err
	}
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
	return final, op, payload, nil
}

// writeFrame writes one whole message.
func writeFrame(rw *bufio.ReadWriter, op byte, payload []byte) error {
	head := []byte{0x80 | op, byte(len(payload))}
	switch {
	case len(payload) > 0xffff:
		head = binary.BigEndian.AppendUint64([]byte{head[0], 127}, uint64(len(payload)))
	case len(payload) > 125:
		head = binary.BigEndian.AppendUint16([]byte{head[0], 126}, uint16(len(payload)))
	}
	if _, err := rw.Write(append(head, payload...)); err != nil {
		return err
	}
	return rw.Flush()
}
