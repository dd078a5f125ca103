package hooks

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// ParseRegistry reads what a registry sent, after Verify: which one it is shows
// by the shape.
func ParseRegistry(h http.Header, body []byte) (Delivery, error) {
	d := Delivery{Provider: Registry, ID: header(h, "X-GitHub-Delivery", "X-Fairlead-Delivery", "Idempotency-Key")}
	if event := h.Get("X-GitHub-Event"); event != "" {
		d.Event = event
		return d.finish(parsePackage(&d, body))
	}
	var p registryPayload
	if json.Unmarshal(body, &p) != nil {
		return d.finish(errNoJSON)
	}
	switch {
	case p.Events != nil:
		d.distribution(p.Events)
	case p.PushData != nil:
		d.Event, d.Images = "push", []Image{{"docker.io", p.repo().Name, p.PushData.Tag}}
	case p.EventData != nil:
		d.harbor(p.Type, *p.EventData)
	case p.Data != nil:
		d.harbor(p.Type, *p.Data)
	case p.DockerURL != "":
		d.Event = "push"
		for _, tag := range p.UpdatedTags {
			d.Images = append(d.Images, imageOf(p.DockerURL+":"+tag))
		}
	default:
		d.generic(p)
	}
	return d.finish(nil)
}

func (d Delivery) finish(err error) (Delivery, error) {
	if err != nil {
		return d, fmt.Errorf("read webhook of a registry: %w", err)
	}
	return d.bounded(), nil
}

// registryPayload has the fields of all of them.
type registryPayload struct {
	// https://distribution.github.io/distribution/about/notifications/
	Events []distributionEvent `json:"events"`
	// https://docs.docker.com/docker-hub/repos/manage/webhooks/
	PushData *struct {
		Tag string `json:"tag"`
	} `json:"push_data"`
	Repository json.RawMessage `json:"repository"` // an object of Docker Hub, a text of Quay
	// https://goharbor.io/docs/latest/working-with-projects/project-configuration/configure-webhooks/
	Type      string      `json:"type"`
	EventData *harborData `json:"event_data"`
	Data      *harborData `json:"data"` // as a cloud event
	// https://docs.quay.io/guides/notifications.html
	DockerURL   string   `json:"docker_url"`
	UpdatedTags []string `json:"updated_tags"`
	// anybody's
	Image string `json:"image"`
	Tag   string `json:"tag"`
}

type hubRepository struct {
	Name string `json:"repo_name"`
}

func (p registryPayload) repo() (r hubRepository) {
	_ = json.Unmarshal(p.Repository, &r) // without a name it is about nothing
	return r
}

type distributionEvent struct {
	ID     string `json:"id"`
	Action string `json:"action"`
	Target struct {
		Repository string `json:"repository"`
		Tag        string `json:"tag"`
		URL        string `json:"url"`
	} `json:"target"`
	Request struct {
		Host string `json:"host"`
	} `json:"request"`
}

// distribution takes pushes only: a pull, which our own question is one of, tells
// nothing new. Several events have one delivery; the ID of the first is its name.
func (d *Delivery) distribution(events []distributionEvent) {
	for i, e := range events {
		if i == 0 && d.ID == "" {
			d.ID = e.ID
		}
		if e.Action != "push" && e.Action != "delete" || e.Target.Tag == "" && strings.Contains(e.Target.URL, "/blobs/") {
			continue
		}
		d.Event = "push"
		d.Images = append(d.Images, Image{e.Request.Host, e.Target.Repository, e.Target.Tag})
	}
	if d.Event == "" {
		d.Event = "notification"
	}
}

type harborData struct {
	Resources []struct {
		Tag string `json:"tag"`
		URL string `json:"resource_url"`
	} `json:"resources"`
	Repository struct {
		FullName string `json:"repo_full_name"`
	} `json:"repository"`
}

func (d *Delivery) harbor(kind string, data harborData) {
	d.Event = kind
	if kind != "PUSH_ARTIFACT" && kind != "harbor.artifact.pushed" && kind != "REPLICATION" && kind != "DELETE_ARTIFACT" && kind != "harbor.artifact.deleted" {
		return
	}
	for _, r := range data.Resources {
		i := imageOf(r.URL)
		if i.Repository == "" || data.Repository.FullName != "" {
			i.Repository = data.Repository.FullName
		}
		i.Tag = r.Tag
		d.Images = append(d.Images, i)
	}
}

func (d *Delivery) generic(p registryPayload) {
	d.Event = "push"
	image := p.Image
	if image == "" {
		_ = json.Unmarshal(p.Repository, &image) // without a name it is about nothing
	}
	if image == "" {
		return
	}
	i := imageOf(image)
	if p.Tag != "" {
		i.Tag = p.Tag
	}
	d.Images = []Image{i}
}

// parsePackage reads GitHub's events of its container registry.
// https://docs.github.com/webhooks/webhook-events-and-payloads#registry_package
func parsePackage(d *Delivery, body []byte) error {
	type pack struct {
		Name      string `json:"name"`
		Namespace string `json:"namespace"`
		Owner     struct {
			Login string `json:"login"`
		} `json:"owner"`
		Type    string `json:"package_type"`
		Version struct {
			URL      string `json:"package_url"`
			Metadata struct {
				Tag struct {
					Name string `json:"name"`
				} `json:"tag"`
			} `json:"container_metadata"`
		} `json:"package_version"`
	}
	var p struct {
		Registry *pack `json:"registry_package"`
		Package  *pack `json:"package"`
	}
	if json.Unmarshal(body, &p) != nil {
		return errNoJSON
	}
	if d.Event == "ping" {
		d.Ping = true
		return nil
	}
	one := p.Registry
	if one == nil {
		one = p.Package
	}
	if one == nil || !strings.EqualFold(one.Type, "container") {
		return nil
	}
	i := imageOf(one.Version.URL)
	if i.Repository == "" {
		owner := one.Namespace
		if owner == "" {
			owner = one.Owner.Login
		}
		i = Image{Host: "ghcr.io", Repository: strings.ToLower(strings.Trim(owner+"/"+one.Name, "/"))}
	}
	if one.Version.Metadata.Tag.Name != "" {
		i.Tag = one.Version.Metadata.Tag.Name
	}
	d.Images = []Image{i}
	return nil
}

// imageOf takes a reference apart. A first part without a dot or a port is no
// host, as Docker reads it.
func imageOf(ref string) (i Image) {
	ref, _, _ = strings.Cut(ref, "@")
	if host, rest, both := strings.Cut(ref, "/"); both && (strings.ContainsAny(host, ".:") || host == "localhost") {
		i.Host, ref = host, rest
	}
	i.Repository, i.Tag = ref, ""
	if at := strings.LastIndexByte(ref, ':'); at > strings.LastIndexByte(ref, '/') {
		i.Repository, i.Tag = ref[:at], ref[at+1:]
	}
	return i
}

// Matches says whether an image is what a reference follows: its repository, and
// its tag where the sender tells one.
func (i Image) Matches(ref string) bool {
	want := imageOf(ref)
	if i.Tag != "" && want.Tag != "" && i.Tag != want.Tag {
		return false
	}
	if i.Host != "" && canonical(i.Host) != canonical(want.Host) && !private(i.Host) {
		return false
	}
	return library(i) == library(want)
}

// canonical is the one name of Docker Hub.
func canonical(host string) string {
	switch host {
	case "", "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return strings.ToLower(host)
}

// private are names by which a registry knows itself within its own network, as
// localhost:5000: which one it is called by outside it cannot know.
func private(host string) bool {
	name, _, _ := strings.Cut(host, ":")
	return name == "localhost" || !strings.Contains(name, ".") || strings.HasPrefix(name, "127.")
}

func library(i Image) string {
	if !strings.Contains(i.Repository, "/") && canonical(i.Host) == "docker.io" {
		return "library/" + i.Repository
	}
	return strings.ToLower(i.Repository)
}
