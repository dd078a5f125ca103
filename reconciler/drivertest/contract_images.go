package drivertest

import (
	"testing"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

func (b *bench) images() {
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	id := b.serves(one, "web")
	missing := b.target(2, b.web(KindPlain, 2))
	s := missing.Spec.Services["web"]
	s.Image = s.Image + "-not-there"
	missing.Spec.Services["web"] = s
	if _, err := b.Driver.Prepare(b.Context(), missing, nil); err == nil {
		b.Fatal("an image that does not exist was prepared")
	}
	s.PullPolicy = "never"
	missing.Spec.Services["web"] = s
	if _, err := b.Driver.Prepare(b.Context(), missing, nil); !reconciler.IsTerminal(err) {
		b.Fatalf("pull_policy never: %v, want a terminal error", err)
	}
	again, err := b.Driver.Prepare(b.Context(), one, nil)
	b.must(err, "prepare with fixed images")
	for ref, img := range one.Images {
		if again[ref] != img {
			b.Fatalf("fixed image %s became %v", ref, again[ref])
		}
	}
	external := b.target(3, b.web(KindPlain, 1))
	external.Spec.Networks["other"] = desired.Network{Key: "other", Name: b.Instance + "-missing", External: true}
	if _, err := b.Driver.Prepare(b.Context(), external, nil); !reconciler.IsTerminal(err) {
		b.Fatalf("missing external network: %v, want a terminal error", err)
	}
	if b.serves(one, "web") != id {
		b.Fatal("prepare touched what runs")
	}
}

// imagesByDigest fetches what a registry resolved, by the digest alone: the
// reference may mean something else by now, or nothing.
func (b *bench) imagesByDigest() {
	t := b.target(1, b.web(KindPlain, 1))
	s := t.Spec.Services["web"]
	digest := b.Digest(s.Image)
	s.Image += "-moved-on"
	t.Spec.Services["web"] = s
	t.Images = map[string]reconciler.Image{s.Image: {Digest: digest}}
	t = b.deploy(t)
	if got := t.Images[s.Image]; got.ID == "" || got.Digest != digest {
		b.Fatalf("prepared %+v, want the digest %s with an ID", got, digest)
	}
	id := b.serves(t, "web")
	again := t
	again.Images = map[string]reconciler.Image{s.Image: {Digest: digest}}
	b.RegistryDown(true)
	images, err := b.Driver.Prepare(b.Context(), again, nil)
	b.RegistryDown(false)
	b.must(err, "prepare what is on the engine, without the registry")
	if images[s.Image] != t.Images[s.Image] {
		b.Fatalf("prepared %+v, want %+v", images[s.Image], t.Images[s.Image])
	}
	other := b.Digest(b.web(KindPlain, 4).Image)
	again.Images = map[string]reconciler.Image{s.Image: {Digest: other}}
	b.RegistryDown(true)
	_, err = b.Driver.Prepare(b.Context(), again, nil)
	b.RegistryDown(false)
	if err == nil || reconciler.IsTerminal(err) {
		b.Fatalf("without the registry: %v, want an error that is tried again", err)
	}
	if b.serves(t, "web") != id {
		b.Fatal("a pull that failed touched what runs")
	}
}

// wayBack goes back to a generation whose image was removed by hand: as long as
// its container is kept nothing is needed; else the registry is.
func (b *bench) wayBack() {
	one := b.deploy(b.target(1, b.web(KindPlain, 1)))
	old := b.serves(one, "web")
	two := b.prepare(b.target(2, b.web(KindPlain, 2)))
	b.must(b.apply(two), "replace")
	ref := one.Spec.Services["web"].Image
	b.RemoveImage(one.Images[ref].ID)
	b.RegistryDown(true)
	b.Run("container is kept", func(tt *testing.T) {
		h := &bench{T: tt, Harness: b.Harness}
		h.prepare(one)
		h.must(h.apply(one), "undo")
		if h.serves(one, "web") != old {
			h.Fatal("the kept container was not brought back")
		}
	})
	b.Hands.RemoveContainer(b.name("web"))
	_, err := b.Driver.Prepare(b.Context(), one, nil)
	if err == nil || reconciler.IsTerminal(err) {
		b.Fatalf("neither container, image nor registry: %v, want an error that is tried again", err)
	}
	b.RegistryDown(false)
	one = b.deploy(one)
	if b.serves(one, "web") == old {
		b.Fatal("the removed container serves")
	}
}
