package source

import (
	"context"
	"encoding/base64"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

var (
	secretRegexp        = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)
	secretVersionRegexp = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
	smNameRegexp        = regexp.MustCompile(`/versions/([0-9]{1,20})$`)
)

// secretOf takes a reference of Secret Manager apart; project may be empty.
func secretOf(r Ref) (project, name, version string) {
	text := r.place
	if r.path != "" {
		text += "/" + r.path
	}
	// the resource name that Google's tools print
	if parts := strings.Split(text, "/"); len(parts) >= 4 && parts[0] == "projects" && parts[2] == "secrets" {
		text = parts[1] + "/" + strings.Join(parts[3:], "/")
		text = strings.Replace(text, "/versions/", "@", 1)
	}
	text, version, _ = strings.Cut(text, "@")
	if before, after, ok := strings.Cut(text, "/"); ok {
		project, text = before, after
	}
	if version == "" {
		version = r.query["version"]
	}
	return project, text, version
}

func checkSM(r *Ref) error {
	project, name, version := secretOf(*r)
	switch {
	case strings.Contains(r.text, "@") && (version == "" || r.query["version"] != ""):
		return invalid("its version is empty or stands twice; write sm://PROJECT/NAME@VERSION")
	case project != "" && !projectRegexp.MatchString(project):
		return invalid("its project is not one; write sm://PROJECT/NAME")
	case !secretRegexp.MatchString(name):
		return invalid("its secret has no name that Secret Manager knows: letters, digits, - and _; write sm://[PROJECT/]NAME[@VERSION]")
	case version != "" && !secretVersionRegexp.MatchString(version):
		return invalid("its version is not a number, latest or an alias")
	}
	return nil
}

// fetchSM reads a version of a secret of Google Secret Manager. It takes
// secretmanager.versions.access and no other permission.
func fetchSM(ctx context.Context, j *job) (Blob, error) {
	const who = "Secret Manager"
	project, name, version := secretOf(j.ref)
	if project == "" {
		var err error
		if project, err = j.googleProject(ctx); err != nil {
			return Blob{}, err
		}
	}
	if version == "" {
		version = "latest"
	}
	a, c, err := j.googleGet(ctx, who, j.opts.Endpoints.SecretManager,
		"/v1/projects/"+project+"/secrets/"+name+"/versions/"+version+":access", 0)
	b := Blob{Date: a.date}
	if err != nil {
		return b, err
	}
	if a.status != http.StatusOK {
		return b, j.answered(who, a, googleSays(a), "grant roles/secretmanager.secretAccessor on "+name+" in "+project+" to "+c.who)
	}
	var got struct {
		Name    string `json:"name"`
		Payload struct {
			Data   string `json:"data"`
			CRC32C string `json:"dataCrc32c"`
		} `json:"payload"`
	}
	if err := a.decode(who, &got); err != nil {
		return b, err
	}
	data, err := base64.StdEncoding.DecodeString(got.Payload.Data)
	if err != nil {
		return b, fail(ErrFailed, "%s answers with data that is not base64", who)
	}
	if sum := got.Payload.CRC32C; sum != "" && sum != strconv.FormatUint(uint64(crc32c(data)), 10) {
		return b, fail(ErrUnreachable, "the data of %s was damaged on its way: its CRC32C is another", who)
	}
	b.Data = data
	if m := smNameRegexp.FindStringSubmatch(got.Name); m != nil {
		b.Version = Version(m[1])
	}
	return b, nil
}
