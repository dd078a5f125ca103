package docker

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/api/types/container"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/reconciler"
)

const (
	// jobImageAge is how long a reference is believed to mean what it meant.
	jobImageAge = 24 * time.Hour
	// maxPasswd bounds a file of users, in bytes.
	maxPasswd = 1 << 20
)

// JobImage makes sure that an image is on the engine. One that came from a
// registry is asked for again after a day; when that fails the one that is
// there is taken. An empty user is the image's own.
func (e *Engine) JobImage(ctx context.Context, instance, ref, user string, p reconciler.Progress) (reconciler.JobImage, error) {
	n := need{ref: ref}
	if img, found, err := e.inspectImage(ctx, ref); err != nil {
		return reconciler.JobImage{}, err
	} else if found && img.Digest != "" && !strings.Contains(ref, "@") {
		n.after = jobImageAge
	}
	img, err := e.prepareImage(ctx, reconciler.Target{Spec: desired.Spec{Name: instance}}, n, p)
	if err != nil {
		return reconciler.JobImage{}, err
	}
	in, found, err := e.imageDetails(ctx, img.ID)
	if err == nil && !found {
		err = fmt.Errorf("prepare image %s: it is not on the engine; was it removed meanwhile?", ref)
	}
	if err != nil {
		return reconciler.JobImage{}, err
	}
	out := reconciler.JobImage{ID: img.ID}
	if in.Config != nil {
		user = cmp.Or(user, in.Config.User)
		out.Runs = len(in.Config.Entrypoint)+len(in.Config.Cmd) > 0
	}
	out.UID, out.GID, err = e.jobUser(ctx, instance, img.ID, user)
	return out, err
}

// jobUser tells which numbers a user has in an image: what the job writes to is
// to belong to them.
func (e *Engine) jobUser(ctx context.Context, instance, image, user string) (uid, gid int, err error) {
	if user == "" {
		return 0, 0, nil
	}
	name, group, _ := strings.Cut(user, ":")
	uid, uerr := strconv.Atoi(name)
	gid, gerr := strconv.Atoi(group)
	if uerr == nil && (gerr == nil || group == "") {
		return uid, gid, validUser(user, uid, gid)
	}
	passwd, groups, err := e.userFiles(ctx, instance, image)
	if err != nil {
		return 0, 0, err
	}
	if row := lookup(passwd, name); uerr != nil {
		if len(row) < 4 {
			return 0, 0, reconciler.Terminal(fmt.Errorf("find user %q: the image has no such user in /etc/passwd; give its number", name))
		}
		uid, uerr = strconv.Atoi(row[2])
		gid, gerr = strconv.Atoi(row[3])
	}
	if group != "" {
		if gid, gerr = strconv.Atoi(group); gerr != nil {
			row := lookup(groups, group)
			if len(row) < 3 {
				return 0, 0, reconciler.Terminal(fmt.Errorf("find group %q: the image has no such group in /etc/group; give its number", group))
			}
			gid, gerr = strconv.Atoi(row[2])
		}
	}
	if err := errors.Join(uerr, gerr); err != nil {
		return 0, 0, fmt.Errorf("find user %q of the image: %w", user, err)
	}
	return uid, gid, validUser(user, uid, gid)
}

func validUser(user string, uid, gid int) error {
	const most = 1<<31 - 1 // as the kernel's tools take them
	if uid < 0 || gid < 0 || uid > most || gid > most {
		return reconciler.Terminal(fmt.Errorf("find user %q: numbers of users go from 0 to %d", user, most))
	}
	return nil
}

// lookup finds the row of a name in a file of users or groups.
func lookup(file, name string) []string {
	for line := range strings.SplitSeq(file, "\n") {
		if row := strings.Split(strings.TrimRight(line, "\r"), ":"); row[0] == name && name != "" {
			return row
		}
	}
	return nil
}

// userFiles reads the files of users from an image, by way of a container that
// is never started: an engine gives out no file of an image.
func (e *Engine) userFiles(ctx context.Context, instance, image string) (passwd, groups string, err error) {
	cfg, host := jobConfig(e.opts.Owner, reconciler.Job{Instance: instance, Image: image, Entrypoint: []string{"none"}, Tmp: 1 << 20})
	var made container.CreateResponse
	if err := call(ctx, writeTimeout, func(ctx context.Context) (err error) {
		made, err = e.api().ContainerCreate(ctx, cfg, host, nil, nil, "")
		return err
	}); err != nil {
		return "", "", e.fail(err, "create container of %s to read its users", shortImage(image))
	}
	defer func() {
		err = errors.Join(err, e.remove(context.WithoutCancel(ctx), made.ID, short(made.ID)))
	}()
	if passwd, err = e.readFile(ctx, made.ID, "/etc/passwd"); err != nil {
		return "", "", err
	}
	groups, err = e.readFile(ctx, made.ID, "/etc/group")
	return passwd, groups, err
}

// readFile reads one small file of a container; one that is not there is empty.
func (e *Engine) readFile(ctx context.Context, id, path string) (text string, err error) {
	err = call(ctx, readTimeout, func(ctx context.Context) error {
		body, _, err := e.api().CopyFromContainer(ctx, id, path)
		if notFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		defer body.Close()
		r := tar.NewReader(bufio.NewReader(io.LimitReader(body, maxPasswd)))
		head, err := r.Next()
		if err != nil || head.Typeflag != tar.TypeReg {
			return err
		}
		data, err := io.ReadAll(r)
		text = string(data)
		return err
	})
	return text, e.fail(err, "read %s of container %s", path, short(id))
}
