package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
)

// web reads files over https. only is the host that headers without one go to.
type web struct {
	*Source
	only string
}

// sameHost follows five redirects that stay at the host; headers would go along.
func sameHost(req *http.Request, via []*http.Request) error {
	if len(via) > 5 || req.URL.Scheme != via[0].URL.Scheme || !strings.EqualFold(req.URL.Host, via[0].URL.Host) {
		return http.ErrUseLastResponse
	}
	return nil
}

func (w *web) ask(method string, o *object, offset int64) func(context.Context) (*http.Request, error) {
	return func(ctx context.Context) (*http.Request, error) {
		u := o.place.url
		if err := w.settings.AllowHost(u.Hostname(), netip.Addr{}); err != nil {
			return nil, fmt.Errorf("host %s: %w", u.Hostname(), err)
		}
		req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
		if err != nil {
			return nil, errors.New("the address does not parse")
		}
		for _, h := range w.headers {
			if h.host == u.Host || h.host == "" && w.only == u.Host {
				req.Header.Set(h.name, h.value)
			}
		}
		if offset > 0 {
			resume(req, offset)
			req.Header.Set("If-Range", o.tag)
		}
		return req, nil
	}
}

func resume(req *http.Request, offset int64) {
	req.Header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
}

// list asks for the head. A server that does not know HEAD tells nothing of the
// file, which is then read each time.
func (w *web) list(ctx context.Context, p place, each func(object) error) error {
	o := object{place: p, name: p.url.Path, shown: p.shown, size: -1}
	err := w.web.Do(ctx, w.ask(http.MethodHead, &o, 0), func(answer *http.Response) error {
		o.read(answer)
		return nil
	})
	switch code := rest.Code(err); {
	case code == http.StatusNotFound || code == http.StatusGone:
		return errMissing
	case code == http.StatusMethodNotAllowed || code == http.StatusNotImplemented || code == http.StatusForbidden || code == http.StatusBadRequest:
		o.tag, o.size = "", -1 // addresses that are signed for GET refuse HEAD
	case err != nil:
		return advise(err)
	}
	return each(o)
}

// read takes what an answer tells of the whole file. Only a strong ETag says
// that bytes are the same (RFC 9110, 8.8.1, 13.1.5).
func (o *object) read(answer *http.Response) {
	o.size = answer.ContentLength
	tag := answer.Header.Get("ETag")
	if strings.ContainsFunc(tag, func(r rune) bool { return r < 0x21 || r > 0x7e }) || len(tag) > 256 {
		tag = ""
	}
	o.exact = strings.HasPrefix(tag, `"`)
	modified, err := http.ParseTime(answer.Header.Get("Last-Modified"))
	if o.modified = modified; tag == "" && err == nil {
		tag = fmt.Sprintf("%d-%d", o.size, modified.UnixNano())
	}
	o.tag = tag
}

func (w *web) open(ctx context.Context, o *object, offset int64) (io.ReadCloser, error) {
	answer, err := w.web.Open(ctx, w.ask(http.MethodGet, o, offset))
	if err != nil {
		return nil, advise(err)
	}
	if offset == 0 {
		if kind := answer.Header.Get("Content-Type"); strings.HasPrefix(kind, "text/html") {
			_ = answer.Body.Close()
			return nil, rest.Permanent(connectors.WithHint(fmt.Errorf("%s is a page of HTML, not data", o.shown), "See that the address is that of the file, and that no login stands before it"))
		}
		o.read(answer)
		return answer.Body, nil
	}
	return middle(answer, o, offset)
}

// middle checks that an answer goes on where it is to (RFC 9110, 14.4, 15.3.7).
func middle(answer *http.Response, o *object, offset int64) (io.ReadCloser, error) {
	wrong := errChanged
	if answer.StatusCode == http.StatusPartialContent {
		begin, total, ok := contentRange(answer.Header.Get("Content-Range"))
		tag := answer.Header.Get("ETag")
		if ok && begin == offset && (o.size < 0 || total < 0 || total == o.size) && (tag == "" || o.place.scheme == "gs" || tag == o.tag) {
			return answer.Body, nil
		}
		wrong = errors.New("the answer is of another range than was asked for")
	}
	_ = answer.Body.Close() // not what was asked for
	return nil, wrong
}

// contentRange reads bytes 5-9/10; total is -1 for *.
func contentRange(text string) (begin, total int64, ok bool) {
	text, ok = strings.CutPrefix(text, "bytes ")
	span, all, slash := strings.Cut(text, "/")
	from, _, dash := strings.Cut(span, "-")
	begin, err := strconv.ParseInt(from, 10, 64)
	if all == "*" {
		return begin, -1, ok && slash && dash && err == nil
	}
	total, err2 := strconv.ParseInt(all, 10, 64)
	return begin, total, ok && slash && dash && err == nil && err2 == nil
}

// advise adds to an error what may be done about it.
func advise(err error) error {
	switch code := rest.Code(err); {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return connectors.WithHint(err, "See that the credentials of this connector are right, have not expired, and may read this")
	case code == http.StatusNotFound || code == http.StatusGone:
		return connectors.WithHint(fmt.Errorf("%w: %w", errMissing, err), "See that the path is right, and that the file is there")
	case code >= 300 && code < 400:
		return connectors.WithHint(err, "Name the address that it redirects to, when its host may be read from")
	case code == http.StatusPreconditionFailed || code == http.StatusRequestedRangeNotSatisfiable:
		return errChanged
	}
	return err
}
