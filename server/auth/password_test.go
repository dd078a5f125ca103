package auth_test

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/server/auth"
)

func TestWeakPasswordsAreRefused(t *testing.T) {
	t.Parallel()
	const email, name = "ada.lovelace@acme.com", "Ada Lovelace"
	for _, c := range []struct{ password, why string }{
		{"", "there is none"},
		{"k4$tZ!9wq", "fewer than 12"},
		{strings.Repeat("aB3$", 65), "more than 256"},
		{"aaaaaaaaaaaaaaaa", "different characters"},
		{"abababababababab", "different characters"},
		{"abcdefghijklmnop", "a row"},
		{"ponmlkjihgfedcba", "a row"},
		{"my ada.lovelace@acme.com pass", "email address"},
		{"4da.l0velace-2026", "email address"},
		{"LovelaceAda1815", "email address or the name"},
		{"acme-acme-2026!", "email address or the name"},
		{"Password2026!!", "guessed first"},
		{"p@ssw0rdp@ssw0rd", "guessed first"},
		{"qwertyuiop12345", "guessed first"},
		{"Welcome@Admin1", "guessed first"},
		{"letmein-letmein", "guessed first"},
		{"correct horse battery staple", "guessed first"}, // good once, and printed too often
		{"password angel battery horse", ""},
		{"correcthorsebatterystaple", "guessed first"},
		{"839201746523", "guessed first"},
		{"FairleadAdmin!", "guessed first"},
		{"plum-lantern-orbit", ""},
		{"vGq7x!tPz0mR", ""},
		{"žluťoučký kůň úpěl", ""},
		{"the acme roadrunner falls again", ""},
		{"tab\tin the middle", "no keyboard"},
		{"not \xff valid utf-8", "no keyboard"},
	} {
		err := auth.CheckPassword(c.password, email, name)
		if (err == nil) != (c.why == "") || (err != nil && !strings.Contains(err.Error(), c.why)) {
			t.Errorf("%q: %v, want %q", c.password, err, c.why)
		}
		if err != nil && c.password != "" && strings.Contains(err.Error(), c.password) {
			t.Errorf("the refusal of %q repeats it: %v", c.password, err)
		}
	}
}

func TestAddressesAreFoldedAndChecked(t *testing.T) {
	t.Parallel()
	if got := auth.FoldEmail("  Ada.Lovelace@ACME.com "); got != "ada.lovelace@acme.com" {
		t.Errorf("folded to %q", got)
	}
	for _, good := range []string{"ada@example.com", "a+b@x.co.uk", "admin@localhost", "o'neil@example.com"} {
		if err := auth.CheckEmail(good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{"", "ada", "@example.com", "ada@", "ada@exa mple.com", "ada@-x.com", "a..b@x.com", "ada@example.com\nBcc: all", "ádá@example.com",
		"\"a b\"@x.com", strings.Repeat("a", 250) + "@x.com", "ada@example.com,bob@example.com", "<ada@example.com>"} {
		if auth.CheckEmail(bad) == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func TestStoredHashesAreRead(t *testing.T) {
	t.Parallel()
	c := auth.Cost{Memory: 9216, Time: 4, Threads: 1}
	good := auth.EncodeHash(c, []byte("0123456789abcdef"), []byte("0123456789abcdef0123456789abcdef"))
	got, salt, key, err := auth.DecodeHash(good)
	if err != nil || got != c || len(salt) != 16 || len(key) != 32 {
		t.Fatalf("read %s: %v %v %d %d", good, got, err, len(salt), len(key))
	}
	for _, bad := range []string{"", "$argon2i$v=19$m=8,t=1,p=1$c2FsdA$a2V5", strings.Replace(good, "m=9216", "m=99999999", 1), strings.Replace(good, "t=4", "t=0", 1),
		strings.Replace(good, "p=1", "p=0", 1), strings.Replace(good, "v=19", "v=16", 1), good + "$", strings.TrimSuffix(good, good[len(good)-40:])} {
		if _, _, _, err := auth.DecodeHash(bad); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}
