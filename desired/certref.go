package desired

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// maxRef bounds a reference, as package certs/source does.
const maxRef = 2048

// refScheme is how references of one scheme are written. certs/source is the
// authority on them, which this package may not import: a test of cmd/fairlead
// holds the two against each other.
type refScheme struct {
	name   string
	form   string                               // for people
	params []string                             // that may follow a ?
	check  func(whole, place, rest string) bool // rest is unescaped; nil for https
}

var (
	refParam     = pat(`^[A-Za-z0-9][A-Za-z0-9._:/=+-]{0,254}$`)
	refNumber    = pat(`^[0-9]{1,20}$`)
	refRegion    = pat(`^[a-z]{2}(-[a-z]{2,12}){1,3}-[0-9]{1,2}$`)
	refBucket    = pat(`^[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]$`)
	refHost      = pat(`^[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$`)
	refNumbered  = pat(`(^|\.)(0x[0-9a-f]*|[0-9]+)\.?$`)
	refProject   = pat(`^([a-z0-9][a-z0-9.-]{1,60}:)?[a-z0-9][a-z0-9-]{4,62}$`)
	refSecret    = pat(`^[A-Za-z0-9_-]{1,255}$`)
	refSecretVer = pat(`^[A-Za-z0-9_-]{1,63}$`)
	refEnv       = pat(`^[A-Za-z_][A-Za-z0-9_]{0,254}$`)
	refAWS       = pat(`^[A-Za-z0-9/_+=.@:-]{1,512}$`)
	refAzBlob    = pat(`^[a-z0-9]{3,24}/(\$web|\$root|[a-z0-9](-?[a-z0-9]){2,62})/.+$`)
	refAzKV      = pat(`^[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]/[A-Za-z0-9-]{1,127}(/[A-Za-z0-9]{1,64})?$`)
	refVault     = pat(`^[A-Za-z0-9_.@+=-]+(/[A-Za-z0-9_.@+= -]+)*$`)
)

// refSchemes are all of them, the usual ones first.
func refSchemes() []refScheme {
	return []refScheme{
		{"https", "https://HOST/PATH", nil, nil},
		{"file", "file:///ABSOLUTE/PATH", nil, func(_, place, rest string) bool {
			return place == "" && rest != "" && path.Clean("/"+rest) == "/"+rest
		}},
		{"sm", "sm://[PROJECT/]NAME[@VERSION]", []string{"version"}, func(whole, place, rest string) bool { return checkSecretName(whole, joinRef(place, rest)) }},
		{"gs", "gs://BUCKET/OBJECT", []string{"generation"}, func(_, place, rest string) bool {
			return refBucket.MatchString(place) && rest != "" && len(rest) <= 1024
		}},
		{"s3", "s3://BUCKET/KEY[?region=REGION]", []string{"region", "version"}, func(_, place, rest string) bool {
			return refBucket.MatchString(place) && len(place) <= 63 && len(rest) <= 1024 && wholeParts(rest)
		}},
		{"azblob", "azblob://ACCOUNT/CONTAINER/BLOB", []string{"version"}, func(_, place, rest string) bool {
			_, blob, _ := strings.Cut(rest, "/")
			return refAzBlob.MatchString(place+"/"+rest) && len(blob) <= 1024 && wholeParts(blob)
		}},
		{"azkv", "azkv://VAULT/SECRET[/VERSION]", nil, func(_, place, rest string) bool { return refAzKV.MatchString(place + "/" + rest) }},
		{"awssm", "awssm://NAME[?region=REGION][&field=FIELD]", []string{"region", "version", "stage", "field"}, func(_, place, rest string) bool {
			return refAWS.MatchString(joinRef(place, rest)) && !strings.HasSuffix(rest, "/")
		}},
		{"vault", "vault://MOUNT/PATH[?field=FIELD]", []string{"field", "version"}, func(_, place, rest string) bool {
			return refVault.MatchString(place) && refVault.MatchString(rest)
		}},
		{"env", "env://NAME", nil, func(whole, place, rest string) bool {
			return refEnv.MatchString(place) && !strings.Contains(whole, "/")
		}},
		{"age", "age://PATH/IN/THE/REPOSITORY.age", nil, func(_, place, rest string) bool { return validTreePath(joinRef(place, rest)) }},
	}
}

// refSchemeNames are "https://", "file://" and so on, for messages and schema.
func refSchemeNames() (names []string) {
	for _, s := range refSchemes() {
		names = append(names, s.name)
	}
	return names
}

// schemeOf is what stands before :// in a reference.
func schemeOf(ref string) string {
	scheme, _, _ := strings.Cut(ref, "://")
	return scheme
}

func joinRef(place, rest string) string { return strings.TrimSuffix(place+"/"+rest, "/") }

// wholeParts says whether a path has parts, and no empty one but the last.
func wholeParts(p string) bool {
	return p != "" && !strings.HasPrefix(p, "/") && !strings.Contains(p, "//")
}

// validTreePath is fs.ValidPath without the root.
func validTreePath(p string) bool { return p != "." && wholeParts(p) && path.Clean(p) == p }

// adviseReference is the hint for a reference, which repeats nothing of it.
func adviseReference(s string) string {
	name, all := schemeOf(s), refSchemes()
	if i := slices.IndexFunc(all, func(r refScheme) bool { return r.name == name }); i >= 0 {
		return "write " + all[i].form
	}
	if name == "http" {
		return "http proves neither who answers nor what: write https://HOST/PATH"
	}
	return "one of " + strings.Join(refSchemeNames(), ":// ") + "://"
}

// checkReference refuses what no host could fetch. Its errors do not repeat the
// text, which may hold what does not belong into git.
func checkReference(s string) error {
	all := refSchemes()
	name, rest, _ := strings.Cut(s, "://")
	i := slices.IndexFunc(all, func(r refScheme) bool { return r.name == name })
	switch {
	case i < 0:
		return errors.New("its scheme is not known")
	case len(s) > maxRef:
		return fmt.Errorf("it is longer than %d characters", maxRef)
	case strings.ContainsFunc(rest, func(c rune) bool { return !unicode.IsPrint(c) || c == ' ' || c == '\\' || c == unicode.ReplacementChar }):
		return errors.New("it has a space, a backslash or a control character; write %20 for a space")
	case strings.Contains(rest, "#"):
		return errors.New("it has a fragment")
	}
	return checkRefOf(all[i], s, rest)
}

func checkRefOf(r refScheme, text, rest string) error {
	whole, query, asked := strings.Cut(rest, "?")
	place, escaped, _ := strings.Cut(whole, "/")
	p, err := url.PathUnescape(escaped)
	if err != nil || strings.ContainsFunc(p, unicode.IsControl) {
		return errors.New("its path does not parse")
	}
	if slices.ContainsFunc(strings.Split(place+"/"+p, "/"), func(part string) bool { return part == "." || part == ".." }) {
		return errors.New("its path has a part . or ..")
	}
	if r.check == nil {
		return checkHTTPSRef(text)
	}
	if asked {
		if err := r.checkParams(query); err != nil {
			return err
		}
	}
	if strings.HasSuffix(whole, "/") || !r.check(text[len(r.name)+len("://"):], place, p) {
		return errors.New("it does not name what it should")
	}
	return nil
}

func (r refScheme) checkParams(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil || len(values) == 0 {
		return errors.New("its query does not parse")
	}
	for _, key := range sortedKeys(values) {
		v := values[key]
		switch {
		case !slices.Contains(r.params, key):
			known := "has no parameters"
			if len(r.params) > 0 {
				known = "knows " + strings.Join(r.params, ", ")
			}
			return fmt.Errorf("it has a parameter that is not known: %s:// %s", r.name, known)
		case len(v) != 1 || !refParam.MatchString(v[0]) || key == "region" && !refRegion.MatchString(v[0]) ||
			key == "generation" && !refNumber.MatchString(v[0]) || r.name == "vault" && key == "version" && !refNumber.MatchString(v[0]) ||
			r.name == "sm" && !refSecretVer.MatchString(v[0]):
			return fmt.Errorf("its parameter %s is empty, stands twice or is not one", key)
		}
	}
	return nil
}

// checkSecretName reads [PROJECT/]NAME[@VERSION], and the resource name that
// Google's tools print.
func checkSecretName(whole, text string) bool {
	if parts := strings.Split(text, "/"); len(parts) >= 4 && parts[0] == "projects" && parts[2] == "secrets" {
		text = strings.Replace(parts[1]+"/"+strings.Join(parts[3:], "/"), "/versions/", "@", 1)
	}
	name, version, versioned := strings.Cut(text, "@")
	project, rest, inProject := strings.Cut(name, "/")
	if inProject {
		name = rest
	}
	return refSecret.MatchString(name) && (!inProject || refProject.MatchString(project)) &&
		(!versioned && !strings.Contains(whole, "@") || refSecretVer.MatchString(version) && !strings.Contains(whole, "version="))
}

// checkHTTPSRef refuses what different clients read differently, and hosts that
// are written as numbers in an odd way.
func checkHTTPSRef(s string) error {
	u, err := url.Parse(s)
	if err != nil {
		return errors.New("it does not parse")
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	_, notIP := netip.ParseAddr(host)
	n, _ := strconv.Atoi(port)
	switch {
	case u.User != nil:
		return errors.New("it holds a user or password, which do not belong into git; name a secret as bearer instead")
	case u.Opaque != "" || host == "":
		return errors.New("nothing follows the scheme")
	case strings.Contains(host, "%"), notIP != nil && (len(host) > 253 || !refHost.MatchString(host) || refNumbered.MatchString(host)):
		return errors.New("its host is not a name and not an address")
	case strings.HasSuffix(u.Host, ":") || port != "" && (n < 1 || n > 65535):
		return errors.New("the port is not between 1 and 65535")
	}
	return nil
}

// treeFile is the file of the repository that an age:// reference names.
func treeFile(ref string) string {
	rest, ok := strings.CutPrefix(ref, "age://")
	place, escaped, _ := strings.Cut(rest, "/")
	p, err := url.PathUnescape(escaped)
	if !ok || err != nil {
		return ""
	}
	return joinRef(place, p)
}

var refPattern = regexp.MustCompile(`^(` + strings.Join(refSchemeNames(), "|") + `)://`)
