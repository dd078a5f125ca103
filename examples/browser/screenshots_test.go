package browser

import (
	"bytes"
	"context"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// TestScreenshots takes the pictures of the documentation when it is asked to:
// FAIRLEAD_SCREENSHOTS names where they go. Otherwise it takes one, to nowhere,
// so that the way to them does not rot.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	to := os.Getenv("FAIRLEAD_SCREENSHOTS")
	dir := t.TempDir()
	if to != "" { // a name that can be shown
		dir = filepath.Join(os.TempDir(), "fairlead")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatalf("%v: remove it, if nothing needs it", err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
	}
	h := newHouseIn(t, dir)
	h.sales()
	b := newTab(t, startChrome(t), h.url)
	if to == "" {
		b.open("/setup")
		b.shoot(filepath.Join(t.TempDir(), "setup.png"), 1280, 800)
		return
	}
	h.owned = append(h.owned, "acme", "globex", "initech", "umbrella")
	b.scheme("light")
	b.open("/setup")
	b.shoot(filepath.Join(to, "setup.png"), 1280, 860)
	b.settle(h, "acme")
	b.says("h1", "Your data is here")
	b.shoot(filepath.Join(to, "first-sync.png"), 1280, 760)
	b.stocks(h)
	pages := []struct{ name, path, heading string }{
		{"dashboard", "/", "Instances"}, {"instance", "/instances/umbrella", "umbrella"}, {"history", "/instances/globex/history", "globex"}, {"failed", "/instances/initech", "initech"}, {"data", "/data", "Data"},
	}
	for _, scheme := range []string{"light", "dark"} {
		b.scheme(scheme)
		for _, p := range pages {
			b.open(p.path)
			b.at(p.path, p.heading)
			b.shoot(filepath.Join(to, p.name+"-"+scheme+".png"), 1280, 800)
		}
		b.open("/query?instance=acme")
		b.fill("#sql", "SELECT region, sum(total) AS total\nFROM orders\nGROUP BY region\nORDER BY total DESC")
		b.press("Run")
		b.says("#result td", "West")
		if !b.has(`document.querySelector("details.draw").open`) {
			b.click("details.draw > summary")
		}
		b.choose("#c-kind", "bar")
		b.click(".draw-form button")
		b.until("a chart", `document.querySelectorAll("svg .chart-bar").length === 4`)
		b.shoot(filepath.Join(to, "query-"+scheme+".png"), 1280, 900)
	}
	b.scheme("light")
	b.open("/")
	b.at("/", "Instances")
	b.shoot(filepath.Join(to, "dashboard-phone.png"), 390, 800)
	b.open("/instances/umbrella")
	b.at("/instances/umbrella", "umbrella")
	b.shoot(filepath.Join(to, "instance-phone.png"), 390, 800)
}

// stocks gives the pictures something to show: projects with a history, one that
// has a certificate, one whose release failed, and one that is suspended.
func (b *tab) stocks(h *house) {
	b.t.Helper()
	say := func(name, message, version, more string) {
		files := project(name, h.push(version))
		files["instances/"+name+"/instance.yaml"] += more
		h.commit(message, files)
	}
	rests := func(name string, generation int, phase reconciler.Phase) {
		h.until(fmt.Sprintf("%s is %s at generation %d", name, phase, generation), func() bool {
			s := h.status(name)
			return s.Generation == generation && s.Phase == phase
		})
	}
	const front = "certificates:\n  www:\n    domains: [shop.umbrella.example]\n    fullchain: file:///etc/ssl/umbrella/fullchain.pem\n" +
		"    csr: {key: p256}\n    fallback: self-signed\nfront:\n  - {host: shop.umbrella.example, certificate: www, to: \"app:8000\"}\n"
	say("globex", "Open the shop", "1.0.0", "")
	say("initech", "Move in", "1.0.0", "")
	say("umbrella", "Serve umbrellas", "1.0.0", front)
	for _, name := range []string{"globex", "initech", "umbrella"} {
		rests(name, 1, reconciler.PhaseIdle)
	}
	say("globex", "Sell more in the shop", "1.1.0", "")
	rests("globex", 2, reconciler.PhaseIdle)
	say("initech", "Take the new release", "2.0.0-sick", "")
	h.until("initech is rolled back", func() bool { return len(h.status("initech").Quarantined) == 1 })
	h.commit("Give acme an application", map[string]string{"instances/acme/compose.yaml": "services:\n  app:\n    image: " + h.push("1.1.0") + "\n"})
	h.until("acme runs", func() bool {
		return len(h.status("acme").Containers) == 1 && h.status("acme").Phase == reconciler.PhaseIdle
	})
	say("globex", "Greet customers by name", "1.2.0", "")
	rests("globex", 3, reconciler.PhaseIdle)
	if _, err := h.client.Suspend(h.t.Context(), "acme", server.SuspendRequest{Reason: "stocktaking until Monday"}); err != nil {
		h.t.Fatal(err)
	}
}

// maxPicture is the most that a picture may weigh in the repository.
const maxPicture = 200 << 10

// shoot takes a picture of what a window of this size shows.
func (b *tab) shoot(name string, width, height int64) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, height))
	b.until("the fonts, from the top", `(scrollTo(0, 0), document.activeElement.blur(), document.fonts.status === "loaded")`)
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	raw, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	if got := img.Bounds(); int64(got.Dx()) != width || int64(got.Dy()) != height {
		b.t.Errorf("%s is %v", name, got)
	}
	var out bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&out, img); err != nil {
		b.t.Fatal(err)
	}
	if out.Len() > maxPicture {
		b.t.Errorf("%s has %d KiB", name, out.Len()>>10)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(name, out.Bytes(), 0o644); err != nil {
		b.t.Fatal(err)
	}
	b.t.Logf("%s, %d KiB", filepath.Base(name), out.Len()>>10)
}
