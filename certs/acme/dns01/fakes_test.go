package dns01

import (
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// fake is a DNS service of one zone, zone.test, that speaks the protocol of a
// real one as its documentation has it.
type fake struct {
	mu      sync.Mutex
	values  map[string][]string // by full name
	version int
	// meddle is called before the next write, once: somebody else writes too.
	meddle func()
	// denied counts requests without the right credentials.
	denied int
}

func (f *fake) all(name string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(slices.Values(f.values[name]))
}

func (f *fake) meddled() {
	if m := f.meddle; m != nil {
		f.meddle = nil
		m()
	}
}

func (f *fake) has(name string, v string) bool { return slices.Contains(f.values[name], v) }

func (f *fake) drop(name, v string) {
	f.values[name] = slices.DeleteFunc(f.values[name], func(x string) bool { return x == v })
	f.version++
}

func (f *fake) put(name, v string) { f.values[name] = append(f.values[name], v); f.version++ }

func answer(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v)
}

func (f *fake) locked(allowed func(*http.Request) bool, h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !allowed(r) {
			f.denied++
			answer(w, http.StatusForbidden, map[string]string{"message": "no permission"})
			return
		}
		if r.Method != http.MethodGet {
			f.meddled()
		}
		h(w, r)
	}
}

func token(t string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Header.Get("Authorization") == "Bearer "+t }
}

func (f *fake) cloudflare(w http.ResponseWriter, r *http.Request) {
	const records = "/zones/zid/dns_records"
	switch path := r.URL.Path; {
	case r.Method == http.MethodGet && path == "/zones" && r.URL.Query().Get("name") == "zone.test":
		answer(w, 200, map[string]any{"success": true, "result": []any{map[string]string{"id": "zid"}}})
	case r.Method == http.MethodGet && path == "/zones":
		answer(w, 200, map[string]any{"success": true, "result": []any{}})
	case r.Method == http.MethodGet && path == records:
		name, found := r.URL.Query().Get("name"), []any{}
		for _, v := range f.values[name] {
			found = append(found, map[string]string{"id": v, "type": "TXT", "name": name, "content": quote(v)})
		}
		answer(w, 200, map[string]any{"success": true, "result": found})
	case r.Method == http.MethodPost && path == records:
		var rec cloudflareRecord
		if json.NewDecoder(r.Body).Decode(&rec) != nil || rec.Type != "TXT" || rec.TTL < 60 || f.has(rec.Name, unquote(rec.Content)) {
			answer(w, 400, map[string]any{"errors": []any{map[string]any{"code": 81058, "message": "An identical record already exists."}}})
			return
		}
		f.put(rec.Name, unquote(rec.Content))
		answer(w, 200, map[string]any{"success": true})
	case r.Method == http.MethodDelete && strings.HasPrefix(path, records+"/"):
		for name := range f.values {
			f.drop(name, strings.TrimPrefix(path, records+"/"))
		}
		answer(w, 200, map[string]any{"success": true})
	default:
		answer(w, 404, nil)
	}
}

func (f *fake) hetzner(w http.ResponseWriter, r *http.Request) {
	rest, ok := strings.CutPrefix(r.URL.Path, "/zones/zone.test/rrsets/")
	name, action, under := strings.Cut(rest, "/TXT/actions/")
	var in hetznerRecords
	if !ok || !under || r.Method != http.MethodPost || json.NewDecoder(r.Body).Decode(&in) != nil || len(in.Records) != 1 {
		answer(w, 404, map[string]any{"error": map[string]string{"code": "not_found"}})
		return
	}
	name, v := name+".zone.test", unquote(in.Records[0].Value)
	switch {
	case action == "add_records" && f.has(name, v):
		answer(w, 409, map[string]any{"error": map[string]string{"code": "uniqueness_error", "message": "record already exists"}})
	case action == "add_records" && len(f.values[name]) > 0 && in.TTL != 0:
		answer(w, 422, map[string]any{"error": map[string]string{"code": "invalid_input", "message": "ttl of the RRSet differs"}})
	case action == "add_records":
		f.put(name, v)
		answer(w, 201, map[string]any{"action": map[string]string{"status": "running"}})
	case action == "remove_records" && !f.has(name, v):
		answer(w, 404, map[string]any{"error": map[string]string{"code": "not_found"}})
	case action == "remove_records":
		f.drop(name, v)
		answer(w, 201, map[string]any{"action": map[string]string{"status": "running"}})
	}
}

func (f *fake) google(w http.ResponseWriter, r *http.Request) {
	switch path := r.URL.Path; {
	case path == "/managedZones":
		zones := []any{}
		if r.URL.Query().Get("dnsName") == "zone.test." {
			zones = append(zones, map[string]string{"name": "inside", "visibility": "private"}, map[string]string{"name": "zname", "visibility": "public"})
		}
		answer(w, 200, map[string]any{"managedZones": zones})
	case path == "/managedZones/zname/rrsets":
		name, found := strings.TrimSuffix(r.URL.Query().Get("name"), "."), []any{}
		if vs := f.values[name]; len(vs) > 0 {
			found = append(found, googleSet{name + ".", "TXT", 300, quoted(vs)})
		}
		answer(w, 200, map[string]any{"rrsets": found})
	case path == "/managedZones/zname/changes" && r.Method == http.MethodPost:
		var in struct{ Additions, Deletions []googleSet }
		if json.NewDecoder(r.Body).Decode(&in) != nil {
			answer(w, 400, nil)
			return
		}
		if !f.replace(setsOf(in.Deletions), setsOf(in.Additions)) {
			answer(w, 412, map[string]any{"error": map[string]any{"code": 412, "message": "Precondition not met for 'entity.change.deletions[0]'"}})
			return
		}
		answer(w, 200, map[string]string{"status": "pending"})
	default:
		answer(w, 404, nil)
	}
}

func quoted(vs []string) (out []string) {
	for _, v := range vs {
		out = append(out, quote(v))
	}
	return out
}

func setsOf(in []googleSet) map[string][]string {
	out := map[string][]string{}
	for _, s := range in {
		for _, v := range s.Rrdatas {
			out[strings.TrimSuffix(s.Name, ".")] = append(out[strings.TrimSuffix(s.Name, ".")], unquote(v))
		}
	}
	return out
}

// replace does what a batch says if what it deletes is what is there.
func (f *fake) replace(old, put map[string][]string) bool {
	for name, vs := range old {
		if !slices.Equal(slices.Sorted(slices.Values(vs)), slices.Sorted(slices.Values(f.values[name]))) {
			return false
		}
	}
	for name := range put {
		if len(old[name]) == 0 && len(f.values[name]) > 0 {
			return false
		}
	}
	for name := range old {
		delete(f.values, name)
	}
	for name, vs := range put {
		f.values[name] = vs
	}
	f.version++
	return true
}

func (f *fake) azure(w http.ResponseWriter, r *http.Request) {
	name, ok := strings.CutPrefix(r.URL.Path, "/zone.test/TXT/")
	if !ok || r.URL.Query().Get("api-version") == "" {
		answer(w, 404, map[string]any{"error": map[string]string{"code": "ParentResourceNotFound"}})
		return
	}
	name += ".zone.test"
	tag := fmt.Sprint("v", f.version)
	there := len(f.values[name]) > 0
	if r.Method != http.MethodGet {
		if (r.Header.Get("If-None-Match") == "*" && there) || (r.Header.Get("If-Match") != "" && r.Header.Get("If-Match") != tag) {
			answer(w, 412, map[string]any{"error": map[string]string{"code": "PreconditionFailed"}})
			return
		}
	}
	switch r.Method {
	case http.MethodGet:
		if !there {
			answer(w, 404, map[string]any{"error": map[string]string{"code": "NotFound"}})
			return
		}
		var set azureSet
		for _, v := range f.values[name] {
			set.Properties.Records = append(set.Properties.Records, azureStrings{[]string{v[:1], v[1:]}})
		}
		w.Header().Set("Etag", tag)
		answer(w, 200, set)
	case http.MethodPut:
		var set azureSet
		if json.NewDecoder(r.Body).Decode(&set) != nil {
			answer(w, 400, nil)
			return
		}
		f.values[name] = nil
		for _, v := range set.Properties.Records {
			f.put(name, strings.Join(v.Value, ""))
		}
		answer(w, 201, set)
	case http.MethodDelete:
		delete(f.values, name)
		f.version++
		answer(w, 200, nil)
	}
}

func (f *fake) route53(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/xml")
	switch path := r.URL.Path; {
	case path == "/hostedzonesbyname":
		fmt.Fprint(w, `<ListHostedZonesByNameResponse><HostedZones>
			<HostedZone><Id>/hostedzone/ZINSIDE</Id><Name>zone.test.</Name><Config><PrivateZone>true</PrivateZone></Config></HostedZone>
			<HostedZone><Id>/hostedzone/Z1</Id><Name>zone.test.</Name><Config><PrivateZone>false</PrivateZone></Config></HostedZone>
			</HostedZones></ListHostedZonesByNameResponse>`)
	case path == "/hostedzone/Z1/rrset" && r.Method == http.MethodGet:
		name := strings.TrimSuffix(r.URL.Query().Get("name"), ".")
		set := awsSet{"zzz.zone.test.", "TXT", 60, []string{`"the next one in the list"`}}
		if vs := f.values[name]; len(vs) > 0 {
			set = awsSet{name + ".", "TXT", 300, quoted(vs)}
		}
		_ = xml.NewEncoder(w).Encode(struct {
			XMLName xml.Name `xml:"ListResourceRecordSetsResponse"`
			Sets    []awsSet `xml:"ResourceRecordSets>ResourceRecordSet"`
		}{Sets: []awsSet{set}})
	case path == "/hostedzone/Z1/rrset" && r.Method == http.MethodPost:
		var batch awsBatch
		if xml.NewDecoder(r.Body).Decode(&batch) != nil {
			w.WriteHeader(400)
			return
		}
		steps := map[string]map[string][]string{"DELETE": {}, "CREATE": {}}
		for _, c := range batch.Changes {
			steps[c.Action] = setsOf([]googleSet{{c.Set.Name, c.Set.Type, c.Set.TTL, c.Set.Records}})
		}
		if !f.replace(steps["DELETE"], steps["CREATE"]) {
			w.WriteHeader(400)
			fmt.Fprint(w, `<ErrorResponse><Error><Code>InvalidChangeBatch</Code><Message>it already exists</Message></Error></ErrorResponse>`)
			return
		}
		fmt.Fprint(w, `<ChangeResourceRecordSetsResponse><ChangeInfo><Status>PENDING</Status></ChangeInfo></ChangeResourceRecordSetsResponse>`)
	default:
		w.WriteHeader(404)
	}
}
