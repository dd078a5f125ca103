package release

import (
	"fmt"
	"slices"
	"strings"
)

// The channels that CI publishes to, and the one that retired releases get.
const (
	Stable     = "stable"
	Dev        = "dev"
	Deprecated = "deprecated"
)

// Kind is what a tag says.
type Kind int

// The kinds of tags.
const (
	Other    Kind = iota // anything else: a channel of somebody's own
	Floating             // stable, dev, deprecated: moves with each release
	Numbered             // stable-YYYY.MM.N, dev-YYYY.MM.N
	Retired              // deprecated-YYYY.MM.N
	Commit               // sha-<7 hexadecimal digits>
	Branch               // dev-<slug>: moves with a branch
)

// Tag is a tag and what its name says.
type Tag struct {
	Name    string
	Kind    Kind
	Channel string  // of Floating, Numbered, Retired and Branch (dev); of Other the tag itself
	Version Version // of Numbered and Retired
	Commit  string  // of Commit
	Slug    string  // of Branch
}

const maxTag = 128 // OCI distribution specification

// ParseTag reads a tag. The only error is a name that no registry takes.
func ParseTag(name string) (Tag, error) {
	if !valid(name) {
		return Tag{}, fmt.Errorf("parse tag %.140q: a tag is 1 to 128 of A-Z a-z 0-9 _ . - and does not start with . or -", name)
	}
	t := Tag{Name: name, Channel: name}
	if name == Stable || name == Dev || name == Deprecated {
		t.Kind = Floating
		return t, nil
	}
	before, rest, _ := strings.Cut(name, "-")
	v, err := Parse(rest)
	switch {
	case (before == Stable || before == Dev) && err == nil:
		t.Kind, t.Channel, t.Version = Numbered, before, v
	case before == Deprecated && err == nil:
		t.Kind, t.Channel, t.Version = Retired, before, v
	case before == "sha" && len(rest) == 7 && only(rest, "0123456789abcdef"):
		t.Kind, t.Channel, t.Commit = Commit, "", rest
	case before == Dev && rest != "" && only(rest, "abcdefghijklmnopqrstuvwxyz0123456789-"):
		t.Kind, t.Channel, t.Slug = Branch, Dev, rest
	}
	return t, nil
}

func valid(name string) bool {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"
	return name != "" && len(name) <= maxTag && only(name[:1], letters) && only(name, letters+".-")
}

func only(s, chars string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(chars, r) }) < 0
}

// NumberedTag is the tag of a version in a channel: stable-2026.04.3.
func NumberedTag(channel string, v Version) string { return channel + "-" + v.String() }

// Versions are the versions that the tags carry in a channel, the newest first,
// each once. The channel is stable, dev or deprecated.
func Versions(tags []string, channel string) []Version {
	var found []Version
	for _, name := range tags {
		t, err := ParseTag(name)
		if err == nil && (t.Kind == Numbered || t.Kind == Retired) && t.Channel == channel {
			found = append(found, t.Version)
		}
	}
	slices.SortFunc(found, func(a, b Version) int { return b.Compare(a) })
	return slices.Compact(found)
}

// Newest is the newest version that the tags carry in a channel; false when
// there is none. It is the largest, however many were deleted.
func Newest(tags []string, channel string) (Version, bool) {
	found := Versions(tags, channel)
	if len(found) == 0 {
		return Version{}, false
	}
	return found[0], true
}

// Deprecations are the tags that retire a version, the newest version first.
func Deprecations(tags []string) []string {
	var names []string
	for _, v := range Versions(tags, Deprecated) {
		names = append(names, NumberedTag(Deprecated, v))
	}
	return names
}
