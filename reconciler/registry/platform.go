package registry

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// pick finds the image of a platform in an index, and says which are there. An
// image for an older variant of the same processor runs too; the newest of
// those is taken.
func pick(list []v1.Descriptor, platform string) (best *v1.Descriptor, there []string) {
	os, arch, variant := split(platform)
	bestVariant := ""
	for i, d := range list {
		p := d.Platform
		if p == nil || p.OS == "" || p.OS == "unknown" || p.Architecture == "unknown" { // attestations are no images
			continue
		}
		if name := p.String(); !slices.Contains(there, name) {
			there = append(there, name)
		}
		if p.OS != os || p.Architecture != arch {
			continue
		}
		has := plainVariant(arch, p.Variant)
		if (variant == "" || has <= variant) && (best == nil || has > bestVariant) {
			best, bestVariant = &list[i], has
		}
	}
	if len(there) == 0 {
		there = []string{"no platform"}
	}
	slices.Sort(there)
	return best, there[:min(len(there), 20)]
}

// runsOn reports whether an image runs on a platform, by what its configuration
// says of itself. What it does not say is not held against it.
func runsOn(os, arch, variant, platform string) bool {
	arch, variant = plainArch(arch, variant)
	wantOS, wantArch, newest := split(platform)
	switch {
	case os != "" && os != wantOS, arch != "" && arch != wantArch:
		return false
	}
	return arch == "" || variant == "" || newest == "" || variant <= newest
}

// plainArch is an architecture by the name that Go has for it. Builders write
// the kernel's and the distributions' names too.
func plainArch(arch, variant string) (string, string) {
	switch arch {
	case "x86_64", "x86-64":
		return "amd64", variant
	case "aarch64":
		return "arm64", variant
	case "i386", "i686":
		return "386", variant
	case "armhf":
		return "arm", "v7"
	case "armel":
		return "arm", "v6"
	}
	return arch, variant
}

// split reads "os/arch[/variant]"; without a variant any will do on arm, and
// the first on the others.
func split(platform string) (os, arch, variant string) {
	os, rest, _ := strings.Cut(platform, "/")
	arch, variant, _ = strings.Cut(rest, "/")
	switch {
	case variant == "" && arch == "arm":
		return os, arch, "" // which of them this processor is, is not known here
	default:
		return os, arch, plainVariant(arch, variant)
	}
}

// plainVariant names the variant that is meant when none is written.
func plainVariant(arch, variant string) string {
	switch {
	case variant != "":
		return variant
	case arch == "arm64":
		return "v8"
	case arch == "arm":
		return "v7"
	case arch == "amd64":
		return "v1"
	}
	return ""
}

// mediaType is what a manifest says it is; old OCI ones do not say.
func mediaType(b []byte) types.MediaType {
	var m struct {
		MediaType     types.MediaType `json:"mediaType"`
		SchemaVersion int             `json:"schemaVersion"`
		Manifests     json.RawMessage `json:"manifests"`
	}
	if json.NewDecoder(bytes.NewReader(b)).Decode(&m) != nil {
		return ""
	}
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.SchemaVersion == 1:
		return types.DockerManifestSchema1
	case m.Manifests != nil:
		return types.OCIImageIndex
	}
	return types.OCIManifestSchema1
}

func isDigest(s string) bool {
	h, err := v1.NewHash(s)
	return err == nil && h.Algorithm == "sha256" && len(h.Hex) == 2*sha256.Size
}

func digestOfBytes(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// shortDigest is what people compare.
func shortDigest(d string) string {
	if i := strings.IndexByte(d, ':'); i > 0 && len(d) > i+13 {
		return d[:i+13]
	}
	return d
}
