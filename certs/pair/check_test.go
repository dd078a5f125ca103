package pair_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/certs/pair"
)

func codes(ps pair.Problems) (list []pair.Code) {
	for _, p := range ps {
		list = append(list, p.Code)
	}
	slices.Sort(list)
	return list
}

func TestCheckTakesAGoodPair(t *testing.T) {
	c := newCompany(t)
	v := pair.Check(c.candidate(t, c.leaf, c.between.cert), c.rules())
	if !v.OK() || len(v.Notes) > 0 || !v.Staged.IsZero() || v.Err() != nil {
		t.Fatalf("verdict: %v, notes %v, staged %v", v.Err(), v.Notes, v.Staged)
	}
	if got := v.Pair.Chain(); len(got) != 2 || !got[0].Equal(c.leaf) || !got[1].Equal(c.between.cert) {
		t.Errorf("chain of %d", len(got))
	}
	again, err := pair.Load(v.Pair.Fullchain(), keyText(t, v.Pair.Key()))
	if err != nil || !again.Equal(v.Pair) {
		t.Errorf("read back: %v", err)
	}
}

// Each case is a candidate and what must be said about it.
func TestCheckRefuses(t *testing.T) {
	c := newCompany(t)
	other := newCompany(t)
	usage := func(ku x509.KeyUsage, eku ...x509.ExtKeyUsage) change {
		return func(x *x509.Certificate) { x.KeyUsage, x.ExtKeyUsage = ku, eku }
	}
	expiredCA := newCA(t, "Acme Old", c.root, life(-900*day, -day))
	noCA := newCA(t, "Acme Clerk", c.root, func(x *x509.Certificate) { x.IsCA, x.KeyUsage = false, x509.KeyUsageDigitalSignature })
	clientsCA := newCA(t, "Acme People", c.root, func(x *x509.Certificate) { x.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	narrowCA := newCA(t, "Acme Narrow", c.root, func(x *x509.Certificate) {
		x.PermittedDNSDomains, x.PermittedDNSDomainsCritical = []string{"acme.net"}, true
	})
	weak := caWithKey(t, "Acme Weak", c.root, weakCurve(t))
	live := func(changes ...change) pair.Pair {
		p, err := pair.New([]*x509.Certificate{c.between.issue(t, c.key, changes...), c.between.cert}, c.key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	good := []*x509.Certificate{c.leaf, c.between.cert}
	chain := func(changes ...change) []*x509.Certificate {
		return []*x509.Certificate{c.between.issue(t, c.key, changes...), c.between.cert}
	}
	cases := map[string]struct {
		chain []*x509.Certificate
		rules func(*pair.Rules)
		want  []pair.Code
		says  string
	}{
		"key of another":        {[]*x509.Certificate{other.leaf, other.between.cert}, func(r *pair.Rules) { r.Roots = pool(other.root.cert) }, []pair.Code{pair.KeyMismatch}, "expected the key " + pair.SPKI(c.key.Public())},
		"another name":          {chain(names("www.acme.com")), nil, []pair.Code{pair.NamesMissing}, "www.acme.com; expected also data.acme.com"},
		"one name too few":      {good, func(r *pair.Rules) { r.Domains = []string{"data.acme.com", "api.acme.com"} }, []pair.Code{pair.NamesMissing}, "expected also api.acme.com"},
		"common name only":      {chain(names()), nil, []pair.Code{pair.NamesMissing}, "ignore its common name"},
		"expired":               {chain(life(-90*day, -day)), nil, []pair.Code{pair.Expired}, "expired on 2026-11-21"},
		"ends before":           {chain(life(day, -day)), nil, []pair.Code{pair.BadLifetime}, "expected an end after the beginning"},
		"a CA":                  {chain(func(x *x509.Certificate) { x.IsCA = true }), nil, []pair.Code{pair.LeafIsCA}, "CA:TRUE"},
		"for clients":           {chain(usage(x509.KeyUsageDigitalSignature, x509.ExtKeyUsageClientAuth)), nil, []pair.Code{pair.WrongUsage}, "lacks serverAuth"},
		"cannot sign":           {chain(usage(x509.KeyUsageKeyEncipherment, x509.ExtKeyUsageServerAuth)), nil, []pair.Code{pair.WrongUsage}, "digitalSignature"},
		"no intermediate":       {good[:1], nil, []pair.Code{pair.ChainIncomplete}, `whose issuer "CN=Acme Issuing" is neither`},
		"unknown root":          {good, func(r *pair.Rules) { r.Roots = pool(other.root.cert) }, []pair.Code{pair.ChainIncomplete}, `"CN=Acme Root"`},
		"no roots":              {good, func(r *pair.Rules) { r.Roots = nil }, []pair.Code{pair.ChainIncomplete}, "the CA's root"},
		"old intermediate":      {[]*x509.Certificate{expiredCA.issue(t, c.key), expiredCA.cert}, nil, []pair.Code{pair.ChainExpired}, "Acme Old"},
		"issuer is no CA":       {[]*x509.Certificate{noCA.issue(t, c.key), noCA.cert}, nil, []pair.Code{pair.ChainInvalid}, "is no CA"},
		"issuer is for clients": {[]*x509.Certificate{clientsCA.issue(t, c.key), clientsCA.cert}, nil, []pair.Code{pair.ChainInvalid}, "incompatible key usage"},
		"issuer is for others":  {[]*x509.Certificate{narrowCA.issue(t, c.key), narrowCA.cert}, nil, []pair.Code{pair.ChainInvalid}, "not permitted"},
		"weak intermediate":     {[]*x509.Certificate{weak.issue(t, c.key), weak.cert}, nil, []pair.Code{pair.WeakKey}, "P-224"},
		"older than live":       {good, func(r *pair.Rules) { r.Live = live(life(-5*day, 20*day)) }, []pair.Code{pair.OlderThanLive}, "on or later"},
		"little left":           {chain(life(-80*day, time.Hour)), func(r *pair.Rules) { r.Live = live(life(-90*day, 2*time.Hour)) }, []pair.Code{pair.TooLittleLeft}, "at least 24h"},
		"bad domains":           {good, func(r *pair.Rules) { r.Domains = []string{"žluť.cz"} }, []pair.Code{pair.NamesMissing}, "punycode"},
		"all at once": {[]*x509.Certificate{other.between.issue(t, other.key, names("x.y.z"), life(-9*day, -day), usage(x509.KeyUsageDigitalSignature, x509.ExtKeyUsageClientAuth))}, nil,
			[]pair.Code{pair.ChainIncomplete, pair.Expired, pair.KeyMismatch, pair.NamesMissing, pair.WrongUsage}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rules := c.rules()
			if tc.rules != nil {
				tc.rules(&rules)
			}
			v := pair.Check(c.candidate(t, tc.chain...), rules)
			if got := codes(v.Problems); !slices.Equal(got, tc.want) {
				t.Fatalf("problems %v, want %v: %v", got, tc.want, v.Err())
			}
			if !strings.Contains(v.Err().Error(), tc.says) {
				t.Errorf("it says %q, not %q", v.Err(), tc.says)
			}
			var p *pair.Problem
			if !errors.As(v.Err(), &p) || p.Alarm() {
				t.Errorf("problem %+v", p)
			}
		})
	}
}

func TestCheckRefusesWeakKeysAndSignatures(t *testing.T) {
	c := newCompany(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	v := pair.Check(pair.Candidate{Chain: text(c.between.issue(t, short), c.between.cert), Privkey: keyText(t, short)}, c.rules())
	if got := codes(v.Problems); !slices.Equal(got, []pair.Code{pair.WeakKey, pair.WeakKey}) || !strings.Contains(v.Err().Error(), "RSA with 1024 bits") {
		t.Errorf("1024 bits: %v", v.Err())
	}
	curve := weakCurve(t)
	v = pair.Check(pair.Candidate{Chain: text(c.between.issue(t, curve), c.between.cert), Privkey: keyText(t, curve)}, c.rules())
	if !v.Problems.Has(pair.WeakKey) {
		t.Errorf("P-224: %v", v.Err())
	}
}

// Go signs nothing with SHA-1 any more: the certificate is one of 2011, by its
// number of the signature's algorithm.
func TestCheckRefusesSHA1(t *testing.T) {
	c := newCompany(t)
	for name, oid := range map[string][2][]byte{
		"SHA1-RSA": {{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b}, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5}},
		"MD5-RSA":  {{0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 0x0b}, {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 4}},
	} {
		ca := caWithKey(t, "Acme RSA", c.root, testRSA(t))
		leaf := ca.issue(t, c.key)
		raw := []byte(strings.ReplaceAll(string(leaf.Raw), string(oid[0]), string(oid[1])))
		old, err := x509.ParseCertificate(raw)
		if err != nil {
			t.Fatal(err)
		}
		v := pair.Check(c.candidate(t, old, ca.cert), c.rules())
		if got := codes(v.Problems); !slices.Equal(got, []pair.Code{pair.WeakSignature}) || !strings.Contains(v.Err().Error(), name) {
			t.Errorf("%s: %v", name, v.Err())
		}
	}
}

func TestCheckAlarmsOnAKeyInTheChain(t *testing.T) {
	c := newCompany(t)
	secret := keyText(t, c.key)
	v := pair.Check(pair.Candidate{Chain: append(text(c.leaf, c.between.cert), secret...), Privkey: secret}, c.rules())
	if len(v.Problems) != 1 || !v.Problems[0].Alarm() || !v.Pair.IsZero() {
		t.Fatalf("problems %v", v.Problems)
	}
	holdsNoSecret(t, v.Err().Error(), secret)
}

func TestCheckRepairs(t *testing.T) {
	c := newCompany(t)
	stranger := newCompany(t)
	cases := map[string]struct {
		chain []*x509.Certificate
		notes []pair.Code
	}{
		"wrong order":  {[]*x509.Certificate{c.between.cert, c.leaf}, []pair.Code{pair.Reordered}},
		"with root":    {[]*x509.Certificate{c.leaf, c.between.cert, c.root.cert}, []pair.Code{pair.RootDropped}},
		"root first":   {[]*x509.Certificate{c.root.cert, c.between.cert, c.leaf}, []pair.Code{pair.Reordered, pair.RootDropped}},
		"leaf twice":   {[]*x509.Certificate{c.leaf, c.leaf, c.between.cert}, []pair.Code{pair.ExtraDropped}},
		"root twice":   {[]*x509.Certificate{c.leaf, c.between.cert, c.root.cert, c.root.cert}, []pair.Code{pair.ExtraDropped, pair.RootDropped}},
		"of strangers": {[]*x509.Certificate{c.leaf, c.between.cert, stranger.between.cert}, []pair.Code{pair.ExtraDropped}},
	}
	for name, tc := range cases {
		v := pair.Check(c.candidate(t, tc.chain...), c.rules())
		if got := codes(v.Notes); !v.OK() || !slices.Equal(got, tc.notes) {
			t.Errorf("%s: %v, notes %v, want %v", name, v.Err(), v.Notes, tc.notes)
		}
		if got := v.Pair.Chain(); len(got) != 2 || !got[0].Equal(c.leaf) || !got[1].Equal(c.between.cert) {
			t.Errorf("%s: chain of %d", name, len(got))
		}
	}
}

// Any order of a chain, with its root, the certificate before the last renewal
// and duplicates, gives the same pair.
func TestCheckOrderDoesNotMatter(t *testing.T) {
	c := newCompany(t)
	middle := newCA(t, "Acme Middle", c.root)
	lower := newCA(t, "Acme Lower", middle)
	leaf := lower.issue(t, c.key)
	before := lower.issue(t, c.key, life(-100*day, 5*day))
	want := []*x509.Certificate{leaf, lower.cert, middle.cert}
	all := []*x509.Certificate{leaf, before, lower.cert, middle.cert, c.root.cert}
	rapid.Check(t, func(r *rapid.T) {
		doc := rapid.Permutation(all).Draw(r, "order")
		for _, i := range rapid.SliceOfN(rapid.IntRange(0, len(all)-1), 0, 4).Draw(r, "again") {
			doc = append(doc, all[i])
		}
		v := pair.Check(c.candidate(t, doc...), c.rules())
		if !v.OK() || !slices.EqualFunc(v.Pair.Chain(), want, (*x509.Certificate).Equal) {
			r.Fatalf("verdict %v, chain %d", v.Err(), len(v.Pair.Chain()))
		}
	})
}

// One key may have several certificates in a document.
func TestCheckPicksTheLeaf(t *testing.T) {
	c := newCompany(t)
	for name, others := range map[string]change{
		"for another name":                func(x *x509.Certificate) { names("www.acme.com")(x); x.NotBefore = now.Add(-day) },
		"of the future":                   life(day, 90*day),
		"of the past":                     life(-9*day, -day),
		"issued before":                   life(-20*day, 100*day),
		"for another name, of the future": func(x *x509.Certificate) { names("www.acme.com")(x); life(day, 90*day)(x) },
	} {
		for _, doc := range [][]*x509.Certificate{{c.between.issue(t, c.key, others), c.leaf, c.between.cert}, {c.leaf, c.between.issue(t, c.key, others), c.between.cert}} {
			v := pair.Check(c.candidate(t, doc...), c.rules())
			if !v.OK() || !v.Pair.Leaf().Equal(c.leaf) {
				t.Errorf("%s: %v, %v", name, v.Pair, v.Err())
			}
		}
	}
}

// A root that signed another CA's key: clients with the old root only need the
// cross-signed certificate, and one that leads nowhere is not preferred.
func TestCheckOfCrossSignedChains(t *testing.T) {
	c := newCompany(t)
	newKeyOfRoot := newKey(t, pair.P256)
	newRoot := caWithKey(t, "New Root", nil, newKeyOfRoot)
	cross := caWithKey(t, "New Root", c.root, newKeyOfRoot)
	gone := newCA(t, "Gone Root", nil)
	crossGone := caWithKey(t, "New Root", gone, newKeyOfRoot, life(-900*day, 3000*day))
	between := newCA(t, "New Issuing", newRoot)
	leaf := between.issue(t, c.key)
	doc := []*x509.Certificate{newRoot.cert, crossGone.cert, cross.cert, between.cert, leaf}
	v := pair.Check(c.candidate(t, doc...), c.rules()) // which trust the old root
	want := []*x509.Certificate{leaf, between.cert, cross.cert}
	if !v.OK() || !slices.EqualFunc(v.Pair.Chain(), want, (*x509.Certificate).Equal) {
		t.Errorf("old root: %v, chain %d", v.Err(), len(v.Pair.Chain()))
	}
	rules := c.rules()
	rules.Roots = pool(newRoot.cert)
	if v = pair.Check(c.candidate(t, doc...), rules); !v.OK() {
		t.Errorf("new root: %v", v.Err())
	}
}

// Ten CAs with one name that all signed each other must not take for ever.
func TestCheckIsBounded(t *testing.T) {
	c := newCompany(t)
	key := newKey(t, pair.P256)
	first := caWithKey(t, "Maze", c.root, key)
	doc := []*x509.Certificate{first.issue(t, c.key)}
	for range pair.MaxCertificates - 1 {
		doc = append(doc, caWithKey(t, "Maze", &authority{first.cert, key}, key).cert)
	}
	if v := pair.Check(c.candidate(t, doc...), c.rules()); !v.Problems.Has(pair.ChainIncomplete) && !v.OK() {
		t.Errorf("verdict %v", v.Err())
	}
}

func TestCheckOfTimes(t *testing.T) {
	c := newCompany(t)
	live := func(changes ...change) pair.Pair {
		p, err := pair.New([]*x509.Certificate{c.between.issue(t, c.key, changes...), c.between.cert}, c.key)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	selfSigned, err := pair.SelfSigned(c.key, []string{"data.acme.com"}, now, 0)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		leaf  change
		rules func(*pair.Rules)
		notes []pair.Code
	}{
		"future is staged":             {life(3*day, 90*day), nil, []pair.Code{pair.NotYetValid}},
		"little left, nothing live":    {life(-80*day, time.Hour), nil, []pair.Code{pair.ExpiresSoon}},
		"little left, stand-in live":   {life(-80*day, time.Hour), func(r *pair.Rules) { r.Live = selfSigned }, []pair.Code{pair.ExpiresSoon}},
		"little left, but more":        {life(-80*day, 2*time.Hour), func(r *pair.Rules) { r.Live = live(life(-90*day, time.Hour)) }, []pair.Code{pair.ExpiresSoon}},
		"short-lived":                  {life(-time.Minute, 59*time.Minute), nil, nil},
		"older than an expired one":    {life(-80*day, 10*day), func(r *pair.Rules) { r.Live = live(life(-9*day, -day)) }, []pair.Code{pair.OlderAccepted}},
		"older, forced":                {life(-80*day, 10*day), func(r *pair.Rules) { r.Live, r.Force = live(life(-9*day, 50*day)), true }, []pair.Code{pair.OlderAccepted}},
		"the same as the live one":     {life(-9*day, 50*day), func(r *pair.Rules) { r.Live = live(life(-9*day, 50*day)) }, nil},
		"older than the stand-in":      {life(-80*day, 10*day), func(r *pair.Rules) { r.Live = selfSigned }, nil},
		"no extended key usage":        {func(x *x509.Certificate) { x.ExtKeyUsage = nil }, nil, []pair.Code{pair.NoUsage}},
		"last second":                  {life(-80*day, time.Second), nil, []pair.Code{pair.ExpiresSoon}},
		"intermediate begins later on": {life(3*day, 90*day), func(r *pair.Rules) { r.Now = now.Add(-1001 * day) }, []pair.Code{pair.NotYetValid}},
	}
	for name, tc := range cases {
		rules := c.rules()
		if tc.rules != nil {
			tc.rules(&rules)
		}
		v := pair.Check(c.candidate(t, c.between.issue(t, c.key, tc.leaf), c.between.cert), rules)
		if got := codes(v.Notes); !v.OK() || !slices.Equal(got, tc.notes) {
			t.Errorf("%s: %v, notes %v, want %v", name, v.Err(), v.Notes, tc.notes)
		}
		if staged := slices.Contains(tc.notes, pair.NotYetValid); staged == v.Staged.IsZero() {
			t.Errorf("%s: staged until %v", name, v.Staged)
		}
	}
}

func TestCheckNotesAnotherIssuer(t *testing.T) {
	c, other := newCompany(t), newCompany(t)
	rules := c.rules()
	live, err := pair.New([]*x509.Certificate{other.leaf}, other.key)
	if err != nil {
		t.Fatal(err)
	}
	ca := newCA(t, "Acme Issuing 2", c.root)
	rules.Live = live
	v := pair.Check(c.candidate(t, ca.issue(t, c.key), ca.cert), rules)
	if got := codes(v.Notes); !v.OK() || !slices.Equal(got, []pair.Code{pair.IssuerChanged}) {
		t.Errorf("%v, notes %v", v.Err(), v.Notes)
	}
}

func TestCheckRefusesOurOwnStandIn(t *testing.T) {
	c := newCompany(t)
	own, err := pair.SelfSigned(c.key, []string{"data.acme.com"}, now, 0)
	if err != nil {
		t.Fatal(err)
	}
	v := pair.Check(c.candidate(t, own.Leaf()), c.rules())
	if got := codes(v.Problems); !slices.Equal(got, []pair.Code{pair.OwnSelfSigned}) {
		t.Errorf("problems %v", v.Err())
	}
	foreign := sign(t, nil, c.key.Public(), &x509.Certificate{DNSNames: []string{"data.acme.com"}, NotBefore: now.Add(-day), NotAfter: now.Add(90 * day),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, c.key)
	v = pair.Check(c.candidate(t, foreign), c.rules())
	if got := codes(v.Problems); !slices.Equal(got, []pair.Code{pair.ChainIncomplete}) || !strings.Contains(v.Err().Error(), "self-signed") {
		t.Errorf("problems %v", v.Err())
	}
	rules := c.rules() // a server's own certificate may be trusted by itself
	rules.Roots = pool(foreign)
	if v = pair.Check(c.candidate(t, foreign), rules); !v.OK() {
		t.Errorf("pinned: %v", v.Err())
	}
}

func TestCandidateHash(t *testing.T) {
	a := pair.Candidate{Chain: []byte("ab"), Privkey: []byte("c")}
	for _, other := range []pair.Candidate{{}, {Chain: []byte("a"), Privkey: []byte("bc")}, {Chain: []byte("c"), Privkey: []byte("ab")}} {
		if a.Hash() == other.Hash() {
			t.Errorf("%q and %q have one hash", a.Chain, other.Chain)
		}
	}
	secret := pair.Candidate{Chain: []byte("SECRET"), Privkey: []byte("SECRET")}
	if s := fmt.Sprintf("%v %+v %s %#v %q", secret, secret, secret, secret, secret); strings.Contains(s, "SECRET") || strings.Contains(s, "83, 69") || !strings.Contains(s, secret.Hash()) {
		t.Errorf("prints as %s", s)
	}
}
