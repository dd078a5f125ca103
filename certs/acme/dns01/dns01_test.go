package dns01

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/libdns/libdns"
)

// services are the REST providers over their fakes.
func services(t *testing.T, f *fake) map[string]Provider {
	t.Helper()
	serve := func(allowed func(*http.Request) bool, h http.HandlerFunc) *httptest.Server {
		srv := httptest.NewTLSServer(f.locked(allowed, h))
		t.Cleanup(srv.Close)
		return srv
	}
	open := func(name string, s map[string]string) *provider {
		p, err := New(name, s)
		if err != nil {
			t.Fatal(err)
		}
		return p.(*provider)
	}
	use := func(r *rest, srv *httptest.Server) string { r.http = srv.Client(); return srv.URL }

	cf := open("cloudflare", map[string]string{"api_token": "t1"})
	c := cf.backend.(*cloudflare)
	c.base = use(c.rest, serve(token("t1"), f.cloudflare))

	hz := open("hetzner", map[string]string{"api_token": "t2"})
	h := hz.backend.(*hetzner)
	h.base = use(h.rest, serve(token("t2"), f.hetzner))

	logins := httptest.NewServer(http.HandlerFunc(login))
	t.Cleanup(logins.Close)
	gc := open("googleclouddns", map[string]string{"gcp_project": "p", "service_account_json": serviceAccountJSON(t, logins.URL+"/google")})
	g := gc.backend.(bySet).sets.(*google)
	g.base = use(g.rest, serve(token("from-google"), f.google))

	az := open("azure", map[string]string{"subscription_id": "s", "resource_group_name": "g", "tenant_id": "t", "client_id": "c", "client_secret": "x"})
	a := az.backend.(bySet).sets.(*azure)
	who := &azureWho{"t", "c", "x", logins.URL}
	a.sign = (&tokens{fetch: who.token}).sign
	a.base = use(a.rest, serve(token("from-azure"), f.azure)) + "/"

	aws := open("route53", nil)
	r := aws.backend.(bySet).sets.(*route53)
	r.sign = (&awsWho{metadata: logins.URL}).sign
	r.base = use(r.rest, serve(func(r *http.Request) bool {
		return strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKID/") && r.Header.Get("X-Amz-Security-Token") == "session"
	}, f.route53))
	return map[string]Provider{"cloudflare": cf, "hetzner": hz, "googleclouddns": gc, "azure": az, "route53": aws}
}

// login hands out the tokens of all services that have logins.
func login(w http.ResponseWriter, r *http.Request) {
	body := make([]byte, 4096)
	n, _ := r.Body.Read(body)
	form := string(body[:n])
	switch {
	case r.URL.Path == "/google" && strings.Contains(form, "jwt-bearer") && strings.Count(form, ".") == 2:
		answer(w, 200, map[string]any{"access_token": "from-google", "expires_in": 3600})
	case r.URL.Path == "/t/oauth2/v2.0/token" && strings.Contains(form, "client_secret=x"):
		answer(w, 200, map[string]any{"access_token": "from-azure", "expires_in": "3600"})
	case r.URL.Path == "/latest/api/token" && r.Method == http.MethodPut:
		fmt.Fprint(w, "imds")
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "imds":
		w.WriteHeader(http.StatusUnauthorized)
	case strings.HasSuffix(r.URL.Path, "/security-credentials/"):
		fmt.Fprint(w, "role\n")
	case strings.HasSuffix(r.URL.Path, "/security-credentials/role"):
		answer(w, 200, map[string]any{"AccessKeyId": "AKID", "SecretAccessKey": "s", "Token": "session", "Expiration": time.Now().Add(time.Hour)})
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func serviceAccountJSON(t *testing.T, tokenURI string) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "a@b.c", "token_uri": tokenURI,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestServices adds and removes records at each service, among records of
// others.
func TestServices(t *testing.T) {
	const name = "_acme-challenge.data.zone.test"
	for service := range services(t, &fake{values: map[string][]string{}}) {
		t.Run(service, func(t *testing.T) {
			f := &fake{values: map[string][]string{name: {"of somebody else"}, "zone.test": {"v=spf1 -all"}}}
			p := services(t, f)[service]
			rec := func(v string) []libdns.Record {
				return []libdns.Record{libdns.TXT{Name: "_acme-challenge.data", TTL: time.Minute, Text: v}}
			}
			do := func(what string, act func() ([]libdns.Record, error), want ...string) {
				t.Helper()
				done, err := act()
				if err != nil || len(done) != 1 {
					t.Fatalf("%s: %v, %d records", what, err, len(done))
				}
				if got := f.all(name); !slices.Equal(got, want) {
					t.Fatalf("%s: there are %q, want %q", what, got, want)
				}
			}
			ctx := t.Context()
			add := func(v string) func() ([]libdns.Record, error) {
				return func() ([]libdns.Record, error) { return p.AppendRecords(ctx, "zone.test.", rec(v)) }
			}
			remove := func(v string) func() ([]libdns.Record, error) {
				return func() ([]libdns.Record, error) { return p.DeleteRecords(ctx, "zone.test.", rec(v)) }
			}
			do("add", add("one"), "of somebody else", "one")
			do("add another", add("two"), "of somebody else", "one", "two")
			do("add again", add("one"), "of somebody else", "one", "two")
			f.meddle = func() { f.put(name, "meanwhile") }
			do("remove while another writes", remove("one"), "meanwhile", "of somebody else", "two")
			do("remove again", remove("one"), "meanwhile", "of somebody else", "two")
			f.values[name] = []string{"two"}
			do("remove the last", remove("two"))
			do("add the first", add("three"), "three")
			if got := f.all("zone.test"); !slices.Equal(got, []string{"v=spf1 -all"}) || f.denied != 0 {
				t.Errorf("other records are %q now; %d requests were denied", got, f.denied)
			}
			if _, err := p.AppendRecords(ctx, "zone.test.", []libdns.Record{libdns.RR{Name: "a", Type: "A", Data: "192.0.2.1"}}); err == nil {
				t.Error("an A record was set")
			}
		})
	}
}

// TestErrorsNameNoSecret says who refused what, in words of the service.
func TestErrorsNameNoSecret(t *testing.T) {
	f := &fake{values: map[string][]string{}}
	p := services(t, f)["cloudflare"].(*provider)
	p.backend.(*cloudflare).sign = bearer("wrong-secret")
	_, err := p.AppendRecords(t.Context(), "zone.test.", []libdns.Record{libdns.TXT{Name: "x", Text: "v"}})
	if err == nil || !strings.Contains(err.Error(), "HTTP 403 Forbidden") || !strings.Contains(err.Error(), "x.zone.test at cloudflare") || strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("error: %v", err)
	}
}

func TestNewNamesWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		name string
		with map[string]string
		want string
	}{
		{"cloudfare", nil, "there are azure, cloudflare, googleclouddns, hetzner, rfc2136, route53"},
		{"cloudflare", nil, "api_token is missing"},
		{"cloudflare", map[string]string{"api_token": "s3cret", "token": "s3cret"}, "token is unknown"},
		{"route53", map[string]string{"access_key_id": "s3cret"}, "go together"},
		{"azure", map[string]string{"subscription_id": "s", "resource_group_name": "g", "client_secret": "s3cret"}, "go together"},
		{"googleclouddns", map[string]string{"gcp_project": "p", "service_account_json": "s3cret"}, "is not the key of a service account"},
		{"rfc2136", map[string]string{"server": "ns", "key_name": "k", "key": "s3cret!"}, "not base64"},
		{"rfc2136", map[string]string{"server": "ns", "key_name": "k", "key": "czNjcmV0", "key_alg": "hmac-md5"}, "hmac-md5"},
	} {
		_, err := New(c.name, c.with)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s %v: %v, want %q", c.name, c.with, err, c.want)
		}
	}
}

// FuzzQuote reads back what it writes, as services do.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{"v", `a"b`, `a\b`, `\"`, "", `"`, `a" "b`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, v string) {
		if got := unquote(quote(v)); got != v {
			t.Errorf("%q is read back as %q", v, got)
		}
	})
}
