package pages

import (
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server/auth"
)

// line is the next line of the log, with its number.
func (l *listener) line() (text string, number int64) {
	l.t.Helper()
	late := time.After(limit)
	for {
		select {
		case e, open := <-l.events:
			if !open {
				l.t.Fatal("the stream ended")
			}
			if e[0] != "line" && e[0] != "missed" {
				continue
			}
			n, err := strconv.ParseInt(e[2], 10, 64)
			if err != nil {
				l.t.Fatalf("the number of a line is %q", e[2])
			}
			return e[1], n
		case <-late:
			l.t.Fatal("no line came")
		}
	}
}

var lastShown = regexp.MustCompile(`data-log="([^"]+)" data-after="(\d+)"`)

// Lines come as they are told, each once, over connections that break.
func TestTheLogIsFollowed(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	page := h.get(auth.RoleViewer, "/instances/acme/live").body
	for _, want := range []string{`role="log"`, `aria-live="polite"`, "deploy", "create container: missing", "generation 1 stands"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	for _, fault := range inspect(page) {
		t.Error(fault)
	}
	at := lastShown.FindStringSubmatch(page)
	if at == nil {
		t.Fatal("the page does not say from where the log goes on")
	}
	last, err := strconv.ParseInt(at[2], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	path := at[1] + "?after=" + at[2]
	tell := h.progress.Lines("acme")
	for i := range 300 {
		tell(reconciler.Line{At: time.Now(), Kind: reconciler.LineAction, Object: "acme-app-1", Text: fmt.Sprintf("number <b>%d</b>\nand more", i)})
	}
	l, had := h.listen(auth.RoleViewer, path), ""
	for i := range 300 {
		text, n := l.line()
		if n != last+int64(i)+1 || !strings.Contains(text, fmt.Sprintf("number &lt;b&gt;%d&lt;/b&gt;\nand more", i)) || !strings.HasPrefix(text, "<li>") {
			t.Fatalf("line %d is %d: %s", i, n-last, text)
		}
		if i%70 == 69 { // the connection breaks
			l.close()
			had = strconv.FormatInt(n, 10)
			l = h.listenAfter(auth.RoleViewer, path, had)
		}
	}
	h.commit(map[string]*wish{"acme": {Tag: "sick"}}, "Two", "Ada")
	for {
		text, _ := l.line()
		if strings.Contains(text, "generation 2 failed and generation 1 is back") {
			if !strings.Contains(text, `class="ink-bad"`) {
				t.Errorf("the result is %s", text)
			}
			return
		}
	}
}

func TestTheLogIsForWhoMaySeeIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	if a := h.get("", "/instances/acme/live/follow"); a.status != http.StatusUnauthorized || strings.Contains(a.body, "generation") {
		t.Errorf("a stranger is answered %d: %s", a.status, a.body)
	}
	l := h.listen(auth.RoleViewer, "/instances/acme/live/follow?after=1")
	if text, _ := l.line(); !strings.Contains(text, "not kept any more") {
		t.Errorf("after a number that never was comes %s", text)
	}
	if text := h.listen(auth.RoleViewer, "/instances/nobody/live/follow").next("end"); !strings.Contains(text, "no such instance") {
		t.Errorf("of no instance comes %q", text)
	}
}

// What the script asks for again has no lines: it has them already.
func TestLinesAreSentOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}}, "One", "Ada")
	h.settle("acme")
	again := h.ask(auth.RoleViewer, http.MethodGet, "/instances/acme/live", nil, map[string]string{freshHeader: "1"}).body
	if strings.Contains(again, "create container") || !strings.Contains(again, `id="now"`) {
		t.Error("the lines are sent anew")
	}
}

// What a tile names is what changed the instance, whatever else was committed;
// and an address says what the page does.
func TestTilesAndAddressesSayWhatTheyMean(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.commit(map[string]*wish{"acme": {Tag: "2026.11.1"}, "globex": {Tag: "2026.11.1"}}, "Open both", "Ada")
	h.settle("acme", "globex")
	h.commit(map[string]*wish{"globex": {Tag: "2026.11.2"}}, "Only globex", "Grace")
	h.settle("acme", "globex")
	h.commit(map[string]*wish{"globex": {Tag: "sick"}}, "Break globex", "Grace")
	h.settle("acme", "globex")
	newest := h.status("acme").Attempted.Short()
	board := h.get(auth.RoleViewer, "/").body
	for name, want := range map[string][]string{
		"acme":   {"Open both", "Newest: " + newest + " changes nothing here"},
		"globex": {"Only globex", "Newest: " + newest + " is not applied here"},
	} {
		_, tile, _ := strings.Cut(board, `href="/instances/`+name+`"`)
		tile, _, _ = strings.Cut(tile, "</li>")
		for _, text := range want {
			if !strings.Contains(tile, text) {
				t.Errorf("the tile of %s does not say %q:\n%s", name, text, tile)
			}
		}
	}
	if page := h.get(auth.RoleViewer, "/instances/acme").body; !strings.Contains(page, "which changes nothing here") {
		t.Error("the page of acme does not say what the newest revision is to it")
	}
	h.engine.Kill("globex-app-1")
	h.settle("globex") // its second apply of generation 2
	for asked, leads := range map[string]string{"/history/1": "/applies/1", "/generations/2": "/applies/2", "/generations/3": "/applies/3", "/history/2": "/applies/2"} {
		a := h.get(auth.RoleViewer, "/instances/globex"+asked)
		number := strings.TrimPrefix(leads, "/applies/")
		if a.path != "/instances/globex"+leads || !strings.Contains(a.body, "<h2>Apply "+number+"</h2>") || !strings.Contains(a.body, "<title>globex: apply "+number+", generation ") {
			t.Errorf("%s leads to %s (%d)", asked, a.path, a.status)
		}
	}
}
