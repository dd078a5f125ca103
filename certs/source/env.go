package source

import (
	"context"
	"regexp"
	"strings"
)

var envRegexp = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)

func checkEnv(r *Ref) error {
	if !envRegexp.MatchString(r.place) || strings.Contains(r.text, r.place+"/") {
		return invalid("write env://NAME, the name of a variable of the daemon")
	}
	return nil
}

// fetchEnv takes PEM from a variable. In many places a variable holds no line
// breaks, and \n stands for them.
func fetchEnv(_ context.Context, j *job) (Blob, error) {
	value, ok := j.opts.Env(j.ref.place)
	if !ok || strings.TrimSpace(value) == "" {
		return Blob{}, fail(ErrNotFound, "the daemon has no variable of that name, or it is empty")
	}
	if !strings.Contains(value, "\n") {
		value = strings.ReplaceAll(value, `\n`, "\n")
	}
	b := Blob{Data: []byte(value)}
	if j.use.Field == Key {
		b.Warnings = []string{"a private key in a variable shows in /proc and in docker inspect; keep it in a file with mode 0600, a secret store or age://"}
	}
	return b, nil
}
