package desired

import (
	"flag"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The hashes of fixed values. When one changes, every instance of every host
// makes its containers anew after an upgrade of Fairlead: change the types so
// that it does not, and add fields with omitempty (law 10).
func TestHashesAreFixed(t *testing.T) {
	yes, grace := true, 90*time.Second
	service := Service{
		Name: "app", Image: "ghcr.io/acme/app:1", Command: []string{"serve", "--port", "8000"}, User: "1000:1000", Init: &yes, StopGrace: &grace,
		Environment: map[string]string{"B": "2", "A": "1"}, Labels: map[string]string{"team": "data"},
		Ports:       []Port{{Target: 8000, Published: "80", HostIP: "127.0.0.1"}},
		Networks:    []ServiceNetwork{{Network: "default", Aliases: []string{"api"}}},
		Mounts:      []Mount{{Type: MountVolume, Source: "data", Target: "/data"}, {Type: MountTracked, Source: "abc", Target: "/etc/app", ReadOnly: true}},
		Healthcheck: &Healthcheck{Test: []string{"CMD", "true"}, Interval: 2 * time.Second, Retries: 3},
		Restart:     Restart{Name: "unless-stopped"}, Logging: &Logging{Driver: "json-file", Options: map[string]string{"max-size": "10m"}},
		Resources: Resources{Memory: 1 << 30, NanoCPUs: 5e8}, Ulimits: []Ulimit{{Name: "nofile", Soft: 1024, Hard: 65536}},
		Replicas: 2, DependsOn: []Dependency{{Service: "db", Condition: Healthy, Required: true}},
	}
	network := Network{Key: "default", Name: "acme_default", Driver: "bridge", IPAM: &IPAM{Pools: []IPAMPool{{Subnet: "10.1.0.0/24"}}}}
	volume := Volume{Key: "data", Name: "acme_data", Driver: "local", DriverOpts: map[string]string{"type": "none", "o": "bind", "device": "/srv/data"}}
	uid := 999
	files := FileTree{Secret: true, Entries: []FileEntry{{Path: "a", Mode: 0o644, Content: []byte("x")}, {Path: "b", Link: "a", UID: &uid}}}
	spec := Spec{Name: "acme", Services: map[string]Service{"app": service}, Networks: map[string]Network{"default": network},
		Volumes: map[string]Volume{"data": volume}, HealthTimeout: DefaultHealthTimeout, Bake: DefaultBake, Rollback: "auto"}
	got := fmt.Sprintf("empty service %s\nservice %s\nnetwork %s\nvolume %s\nfiles %s\nspec %s\n",
		Service{Name: "a"}.Hash(), service.Hash(), network.Hash(), volume.Hash(), files.Hash(), spec.Hash())
	golden(t, "testdata/hashes.golden", got)
}

// notHashed are the fields that a hash leaves out, as its comment says.
var notHashed = map[reflect.Type][]string{
	reflect.TypeFor[Service](): {"Image", "PullPolicy", "PullAfter", "Replicas", "UpdateOrder", "DependsOn", "Job", "Locks"},
	reflect.TypeFor[Network](): {"Key"},
	reflect.TypeFor[Volume]():  {"Key"},
	reflect.TypeFor[Spec]():    {"Dir", "Suspend", "RetainGenerations", "Follow", "Sensitive", "Files", "Notes", "LocalFiles", "Notify", "Policy"},
}

// For each field, and each field of what is in it: a change changes the hash
// exactly when the field is not among those left out.
func TestHashSeesEveryField(t *testing.T) {
	for _, zero := range []interface{ Hash() string }{Service{}, Network{}, Volume{}, Spec{}, FileTree{}, oneConnector{}} {
		t.Run(reflect.TypeOf(zero).Name(), func(t *testing.T) {
			if _, all := zero.(Spec); all {
				fewer(t, "20")
			}
			rapid.Check(t, func(r *rapid.T) { checkHash(r, reflect.TypeOf(zero)) })
		})
	}
}

// fewer has a property tried less often than by default: each try of it changes
// every field of a whole instance. It is given back at the end of the test.
func fewer(t *testing.T, checks string) {
	t.Helper()
	f := flag.Lookup("rapid.checks")
	was := f.Value.String()
	if was != "100" { // asked for on the command line
		return
	}
	if err := f.Value.Set(checks); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Value.Set(was) }) // it was valid before
}

// oneConnector is a specification with nothing but a connector.
type oneConnector ConnectorSpec

func (c oneConnector) Hash() string {
	return Spec{Connectors: map[string]ConnectorSpec{"a": ConnectorSpec(c)}}.Hash()
}

type failer interface{ Errorf(string, ...any) }

func checkHash(r *rapid.T, typ reflect.Type) {
	v := reflect.New(typ).Elem()
	fill(r, v, 0)
	hash := func() string { return v.Interface().(interface{ Hash() string }).Hash() }
	before := hash()
	if hash() != before {
		r.Fatalf("two hashes of one value")
	}
	for i := range typ.NumField() {
		f := typ.Field(i)
		left := slices.Contains(notHashed[typ], f.Name)
		old := reflect.New(f.Type).Elem()
		old.Set(v.Field(i))
		eachChange(v.Field(i), f.Name, func(path string) {
			if got := hash(); (got == before) != left {
				failer(r).Errorf("after a change of %s.%s the hash is %s, before it was %s", typ.Name(), path, got, before)
			}
		})
		v.Field(i).Set(old)
		if hash() != before {
			r.Fatalf("%s.%s was not put back", typ.Name(), f.Name)
		}
	}
}

// fill gives a value of any type random content: empty, or with one or two
// elements.
func fill(r *rapid.T, v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Unix(rapid.Int64Range(0, 1<<31).Draw(r, "t"), 0).UTC()))
			return
		}
		if v.Type() == reflect.TypeFor[Window]() {
			v.Set(reflect.ValueOf(drawWindow(r)))
			return
		}
		for i := range v.NumField() {
			fill(r, v.Field(i), depth+1)
		}
	case reflect.Pointer:
		if rapid.Bool().Draw(r, "there") {
			v.Set(reflect.New(v.Type().Elem()))
			fill(r, v.Elem(), depth+1)
		}
	case reflect.Slice:
		n := rapid.IntRange(0, 2).Draw(r, "n")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i), depth+1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for i := range rapid.IntRange(0, 2).Draw(r, "n") {
			e := reflect.New(v.Type().Elem()).Elem()
			if depth < 3 {
				fill(r, e, depth+2)
			}
			v.SetMapIndex(reflect.ValueOf(fmt.Sprint("k", i)).Convert(v.Type().Key()), e)
		}
	case reflect.Interface:
		v.Set(reflect.ValueOf(rapid.StringMatching(`[a-z]{0,4}`).Draw(r, "any")))
	case reflect.String:
		v.SetString(rapid.StringMatching(`[a-z]{0,4}`).Draw(r, "s"))
	case reflect.Bool:
		v.SetBool(rapid.Bool().Draw(r, "b"))
	case reflect.Int, reflect.Int64:
		v.SetInt(rapid.Int64Range(-1, 1000).Draw(r, "i"))
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(rapid.Uint64Range(0, 100).Draw(r, "u"))
	case reflect.Float64:
		v.SetFloat(float64(rapid.IntRange(0, 1000).Draw(r, "f")) / 8)
	default:
		panic("no way to fill a " + v.Kind().String())
	}
}

// eachChange changes one thing after another in a value, calling check while
// the change holds.
func eachChange(v reflect.Value, path string, check func(string)) {
	old := reflect.New(v.Type()).Elem()
	old.Set(v)
	try := func(change reflect.Value, how string) {
		v.Set(change)
		check(path + how)
		v.Set(old)
	}
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			try(reflect.ValueOf(v.Interface().(time.Time).Add(time.Second)), "")
			return
		}
		if v.Type() == reflect.TypeFor[Window]() {
			other, err := ParseWindow("01:01-01:02 Etc/GMT+5")
			if err == nil {
				try(reflect.ValueOf(other), "")
			}
			return
		}
		for i := range v.NumField() {
			eachChange(v.Field(i), path+"."+v.Type().Field(i).Name, check)
		}
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		if v.IsNil() {
			try(fresh, " set")
			return
		}
		try(reflect.Zero(v.Type()), " removed")
		eachChange(v.Elem(), path, check)
	case reflect.Slice:
		try(reflect.Append(slices2(v), reflect.New(v.Type().Elem()).Elem()), "[+]")
		for i := range v.Len() {
			eachChange(v.Index(i), fmt.Sprintf("%s[%d]", path, i), check)
		}
	case reflect.Map:
		eachMapChange(v, path, check)
	case reflect.Interface:
		try(reflect.ValueOf([]any{v.Interface()}), "")
	case reflect.String:
		try(reflect.ValueOf(v.String()+"x").Convert(v.Type()), "")
	case reflect.Bool:
		try(reflect.ValueOf(!v.Bool()).Convert(v.Type()), "")
	case reflect.Int, reflect.Int64:
		try(reflect.ValueOf(v.Int()+1).Convert(v.Type()), "")
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		try(reflect.ValueOf(v.Uint()+1).Convert(v.Type()), "")
	case reflect.Float64:
		try(reflect.ValueOf(v.Float()+1), "")
	}
}

// slices2 copies a slice, so that an append leaves the old one alone.
func slices2(v reflect.Value) reflect.Value {
	c := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
	reflect.Copy(c, v)
	return c
}

func eachMapChange(v reflect.Value, path string, check func(string)) {
	key := reflect.ValueOf("new").Convert(v.Type().Key())
	v.SetMapIndex(key, reflect.New(v.Type().Elem()).Elem())
	check(path + "[new]")
	v.SetMapIndex(key, reflect.Value{})
	for _, k := range v.MapKeys() {
		old := v.MapIndex(k)
		e := reflect.New(v.Type().Elem()).Elem()
		e.Set(old)
		if v.Type().Elem() == reflect.TypeFor[Service]() || v.Type().Elem() == reflect.TypeFor[Network]() ||
			v.Type().Elem() == reflect.TypeFor[Volume]() || v.Type().Elem() == reflect.TypeFor[CertificateSpec]() ||
			e.Kind() == reflect.String || e.Kind() == reflect.Interface {
			eachChange(e, fmt.Sprintf("%s[%s]", path, k), func(p string) {
				v.SetMapIndex(k, e)
				check(p)
			})
		}
		v.SetMapIndex(k, old)
	}
}
