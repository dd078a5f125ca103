package server

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/desired/edit"
)

// ConnectorFile is the file of a connector as it is in the repository.
type ConnectorFile struct {
	Instance  string `json:"instance,omitempty"`
	Connector string `json:"connector,omitempty"`
	Path      string `json:"path,omitempty" doc:"in the repository" example:"instances/acme/connectors/shop.yaml"`
	YAML      string `json:"yaml" doc:"the file, with its comments"`
	// Base is the commit that it was read at; a change carries it, so that
	// nobody's change is lost.
	Base string `json:"base,omitempty" doc:"the commit that it was read at; send it back with a change"`
}

// connectorFile is where a connector is written: a file, or the one in the
// directory of a program.
func (p place) connectorFile() (name string, data []byte, err error) {
	for _, name := range []string{p.file(), path.Join(p.dir, "connectors", p.connector, "connector.yaml")} {
		if data, err = p.read(name); err != nil || data != nil {
			return name, data, err
		}
	}
	return "", nil, &Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("find connector %s of %s: the repository has no file of it", p.connector, p.instance),
		Hint: "GET /api/instances/" + p.instance + "/connectors lists those that there are"}
}

var connectorName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,63}$`)

// named is existing for a connector whose name may be one.
func (a *API) named(ctx context.Context, instance, connector string) (place, error) {
	if !connectorName.MatchString(connector) {
		return place{}, notConnector(connector)
	}
	return a.existing(ctx, instance, connector)
}

func notConnector(name string) error {
	return &Error{Status: http.StatusUnprocessableEntity, Detail: fmt.Sprintf("%q is not the name of a connector", name),
		Hint: "a letter or _, then up to 63 letters, digits and _"}
}

// ConnectorFile reads the file of a connector.
func (a *API) ConnectorFile(ctx context.Context, instance, connector string) (ConnectorFile, error) {
	p, err := a.named(ctx, instance, connector)
	if err != nil {
		return ConnectorFile{}, err
	}
	name, data, err := p.connectorFile()
	return ConnectorFile{Instance: instance, Connector: connector, Path: name, YAML: string(data), Base: p.snapshot.Commit}, err
}

// PutConnectorFile commits a file as it is given. Without a base it has to be a
// new one.
func (a *API) PutConnectorFile(ctx context.Context, instance, connector string, f ConnectorFile) (ChangeAnswer, error) {
	p, err := a.named(ctx, instance, connector)
	if err != nil {
		return ChangeAnswer{}, err
	}
	name, was, err := p.connectorFile()
	verb := "Change the connector "
	if answeredStatus(err) == http.StatusNotFound {
		name, verb, err = p.file(), "Add the connector ", nil
	}
	switch {
	case err != nil:
		return ChangeAnswer{}, err
	case strings.TrimSpace(f.YAML) == "":
		return ChangeAnswer{}, badRequest("change connector "+connector+": the file is empty", "DELETE removes a connector")
	case was != nil && f.Base == "":
		return ChangeAnswer{}, &Error{Status: http.StatusConflict, Detail: "change connector " + connector + ": it is there already, and base does not say which state of it was changed",
			Hint: "GET the file and send its base along"}
	}
	if field := inTheClear(name, []byte(f.YAML)); field != "" {
		return ChangeAnswer{}, clearError(instance, name, field)
	}
	if f.Base == "" {
		f.Base = p.snapshot.Commit
	}
	done, err := a.commit(ctx, Change{Files: map[string][]byte{name: []byte(f.YAML)}, Message: verb + connector + " of " + instance + "\n", Base: f.Base,
		again: readAgain("PUT", instance, connector)})
	return changed(done, instance, connector), err
}

// readAgain says how a file is changed after somebody else changed it: on what it
// is now, by whoever reads it.
func readAgain(method, instance, connector string) string {
	file := of(instance, "connectors/"+url.PathEscape(connector)+"/file", nil)
	return fmt.Sprintf("GET %s answers the newest state and its base: make the change in it, and %s it with that base", file, method)
}

// answeredStatus is the status that an error is answered with; 0: there is none.
func answeredStatus(err error) int {
	if err == nil {
		return 0
	}
	return AsError(err).Status
}

// DeleteConnectorFile commits that a connector is wanted no more. Its data stays
// until it is purged. A program's directory is for git to remove.
func (a *API) DeleteConnectorFile(ctx context.Context, instance, connector, base string) (ChangeAnswer, error) {
	p, err := a.named(ctx, instance, connector)
	if err != nil {
		return ChangeAnswer{}, err
	}
	name, _, err := p.connectorFile()
	if err != nil {
		return ChangeAnswer{}, err
	}
	if name != p.file() {
		return ChangeAnswer{}, &Error{Status: http.StatusConflict, Detail: "remove connector " + connector + ": it is a directory with a program",
			Hint: "remove " + path.Dir(name) + " in git"}
	}
	if base == "" {
		base = p.snapshot.Commit
	}
	done, err := a.commit(ctx, Change{Files: map[string][]byte{name: nil}, Message: "Remove the connector " + connector + " of " + instance + "\n", Base: base,
		again: readAgain("DELETE", instance, connector)})
	return changed(done, instance, connector), err
}

// NewInstance asks for an instance.
type NewInstance struct {
	Name string `json:"name" minLength:"1" maxLength:"39" pattern:"^[a-z][a-z0-9-]*$" example:"acme"`
}

// CreateInstance commits an instance without containers.
func (a *API) CreateInstance(ctx context.Context, req NewInstance) (ChangeAnswer, error) {
	p, err := a.placeOf(ctx, req.Name, "")
	if err == nil && p.found {
		err = &Error{Status: http.StatusConflict, Detail: "make instance " + req.Name + ": it is there already, in " + p.dir}
	}
	if err != nil {
		return ChangeAnswer{}, err
	}
	return a.ensureInstance(ctx, req.Name)
}

// ensureInstance commits an instance unless it is there.
func (a *API) ensureInstance(ctx context.Context, name string) (ChangeAnswer, error) {
	p, err := a.placeOf(ctx, name, "")
	if err != nil {
		return ChangeAnswer{}, err
	}
	if p.found {
		return changed(asBefore(p.snapshot), name, ""), nil
	}
	if err := p.check(); err != nil {
		return ChangeAnswer{}, err
	}
	file := path.Join(p.dir, "instance.yaml")
	if was, err := p.read(file); err != nil || was != nil {
		return ChangeAnswer{}, &Error{Status: http.StatusConflict, Detail: "make instance " + name + ": there is " + file + " already, of another one"}
	}
	done, err := a.commit(ctx, Change{Files: map[string][]byte{file: newInstance(name)}, Message: "Add the instance " + name + "\n", Base: p.snapshot.Commit})
	return changed(done, name, ""), err
}

// ReleaseChange says which release an instance is to follow. Exactly one field
// is set.
type ReleaseChange struct {
	Channel string `json:"channel,omitempty" maxLength:"128" doc:"follow a channel; a version or digest is taken away" example:"stable"`
	Version string `json:"version,omitempty" maxLength:"128" doc:"stay at a version" example:"2026.04.3"`
	Digest  string `json:"digest,omitempty" maxLength:"128" doc:"stay at a digest" example:"sha256:4d1c…"`
	Unpin   bool   `json:"unpin,omitempty" doc:"take the version or digest away, so that the channel counts again"`
}

// ChangeRelease commits which release an instance follows. The rest of its
// instance.yaml stays as it is written.
func (a *API) ChangeRelease(ctx context.Context, instance string, r ReleaseChange) (ChangeAnswer, error) {
	set, what, err := r.what()
	if err != nil {
		return ChangeAnswer{}, err
	}
	return retried(func() (ChangeAnswer, error) {
		p, err := a.existing(ctx, instance, "")
		if err != nil {
			return ChangeAnswer{}, err
		}
		file := path.Join(p.dir, "instance.yaml")
		data, err := p.read(file)
		if err != nil {
			return ChangeAnswer{}, err
		}
		if !edit.Has(data, edit.Path{"release"}) {
			return ChangeAnswer{}, &Error{Status: http.StatusConflict, Detail: "change release of " + instance + ": it follows none",
				Hint: "add release: {image: …, channel: stable} to " + file}
		}
		if data, err = set.apply(data); err != nil {
			return ChangeAnswer{}, invalid(err)
		}
		done, err := a.commit(ctx, Change{Files: map[string][]byte{file: data}, Message: fmt.Sprintf("Have %s %s\n", instance, what), Base: p.snapshot.Commit})
		return changed(done, instance, ""), err
	})
}

// releaseKeys are those of release that take one another's place.
type releaseKeys map[string]string // empty: the key goes

func (r ReleaseChange) what() (releaseKeys, string, error) {
	n := 0
	for _, given := range []bool{r.Channel != "", r.Version != "", r.Digest != "", r.Unpin} {
		if given {
			n++
		}
	}
	switch {
	case n != 1:
		return nil, "", &Error{Status: http.StatusUnprocessableEntity, Detail: fmt.Sprintf("change release: %d of channel, version, digest and unpin are given", n), Hint: "give one"}
	case r.Channel != "":
		return releaseKeys{"channel": r.Channel, "version": "", "digest": ""}, "follow the channel " + r.Channel, nil
	case r.Version != "":
		return releaseKeys{"version": r.Version, "digest": ""}, "stay at the version " + r.Version, nil
	case r.Digest != "":
		return releaseKeys{"digest": r.Digest}, "stay at " + r.Digest, nil
	}
	return releaseKeys{"version": "", "digest": ""}, "follow its channel again", nil
}

func (k releaseKeys) apply(data []byte) (_ []byte, err error) {
	for _, key := range []string{"digest", "version", "channel"} {
		value, mine := k[key]
		at := edit.Path{"release", key}
		switch {
		case !mine:
		case value != "":
			data, err = edit.Set(data, at, value)
		case edit.Has(data, at):
			data, err = edit.Delete(data, at)
		}
		if err != nil {
			return nil, err
		}
	}
	return data, nil
}

// RevertRequest names a commit.
type RevertRequest struct {
	Commit string `json:"commit" minLength:"7" maxLength:"64" pattern:"^[0-9a-f]+$" doc:"the directory becomes what it was at this commit" example:"4d1c0ab"`
}

// Revert commits the directory of an instance as it was at another commit.
func (a *API) Revert(ctx context.Context, instance string, req RevertRequest) (ChangeAnswer, error) {
	p, err := a.existing(ctx, instance, "")
	if err != nil {
		return ChangeAnswer{}, err
	}
	defer a.cfg.Fleet.Attend(ctx)() // a watch of the repository may see the commit first
	done, err := a.cfg.Source.Restore(ctx, Restoration{Dir: p.dir, Commit: req.Commit, Author: authorOf(ctx),
		Message: fmt.Sprintf("Restore %s as of %s\n", instance, req.Commit[:min(8, len(req.Commit))])})
	if err != nil {
		return ChangeAnswer{}, fmt.Errorf("revert %s: %w", instance, sayAgain(ctx, err, ""))
	}
	return changed(done, instance, ""), a.taken(ctx, done)
}
