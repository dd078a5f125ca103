package git

import (
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/desired"
	"golang.org/x/crypto/ssh"
	"pgregory.net/rapid"
)

// signingKey makes a key by ssh-keygen and returns its file and its public half.
func signingKey(t testing.TB, args ...string) (file, public string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	sshKeygen(t, append([]string{"-q", "-N", "", "-C", "", "-f", file}, args...)...)
	return file, strings.TrimSpace(read(t, file+".pub"))
}

func sshKeygen(t testing.TB, args ...string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// commitSigned makes a commit by git, signed with the key in a file.
func commitSigned(t testing.TB, dir, key string, at time.Time, message string, files ...string) string {
	t.Helper()
	for i := 0; i < len(files); i += 2 {
		write(t, filepath.Join(dir, files[i]), files[i+1])
	}
	git(t, dir, "add", "-A")
	cmd := gitCommand(t.Context(), dir, "-c", "gpg.format=ssh", "-c", "user.signingkey="+key, "commit", "-q", "--allow-empty", "-S", "-m", message)
	cmd.Env = append(cmd.Env, "GIT_COMMITTER_DATE="+at.Format(time.RFC3339), "GIT_AUTHOR_DATE="+at.Format(time.RFC3339))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("git commit: %v\n%s", err, out)
	}
	return git(t, dir, "rev-parse", "HEAD")
}

// gitVerifies is what git says of the newest commit.
func gitVerifies(t testing.TB, dir, signers string) bool {
	t.Helper()
	file := filepath.Join(t.TempDir(), "signers")
	write(t, file, signers)
	cmd := gitCommand(t.Context(), dir, "-c", "gpg.ssh.allowedSignersFile="+file, "verify-commit", "HEAD")
	cmd.Env = append(cmd.Env, "TZ=UTC")
	return cmd.Run() == nil
}

func headSignature(t testing.TB, dir string) desired.Signature {
	t.Helper()
	r := open(t, Options{Repo: dir})
	s, err := r.Latest(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.Signature
}

var commitTime = time.Date(2026, 6, 15, 12, 0, 0, 0, time.UTC)

// What git says of a commit and a file of signers is what is said here: over
// kinds of keys, and over everything that a line may say.
func TestSignersAgainstGit(t *testing.T) {
	for kind, args := range map[string][]string{"ed25519": {"-t", "ed25519"}, "ecdsa": {"-t", "ecdsa", "-b", "384"}, "rsa": {"-t", "rsa", "-b", "2048"}} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			key, public := signingKey(t, args...)
			_, other := signingKey(t, "-t", "ed25519")
			dir := newWork(t)
			commitSigned(t, dir, key, commitTime, "Signed\n\nwith a body\n", "a", "1")
			sig := headSignature(t, dir)
			for lines, want := range map[string]bool{
				"jan@acme.com " + public:                                                  true,
				"jan@acme.com,*@acme.com " + public + " Jan's laptop":                     true,
				"\"jan novak\" " + public:                                                 true,
				"# us\n\n\tjan " + public + "\r\n":                                        true,
				"jan namespaces=\"git\" " + public:                                        true,
				"jan namespaces=\"file,g*\" " + public:                                    true,
				"jan NameSpaces=\"git\",VALID-after=\"20260101\" " + public:               true,
				"jan namespaces=\"file\" " + public:                                       false,
				"jan namespaces=\"*,!git\" " + public:                                     false,
				"jan " + other:                                                            false,
				"eva " + other + "\njan " + public:                                        true,
				"jan valid-after=\"20260615\" " + public:                                  true,
				"jan valid-after=\"20260616\" " + public:                                  false,
				"jan valid-before=\"20260615\" " + public:                                 false,
				"jan valid-before=\"20260615115959Z\" " + public:                          false,
				"jan valid-before=\"202606151201Z\" " + public:                            true,
				"jan valid-after=\"20260615120000Z\",valid-before=\"20270101\" " + public: true,
				"jan valid-before=\"20260101\" " + public + "\njan2 " + public:            true,
			} {
				if kind != "ed25519" && lines != "jan@acme.com "+public && lines != "jan "+other {
					continue // what a line says does not depend on the kind of key
				}
				signers, err := ParseSigners("allowed_signers", []byte(lines))
				if err != nil {
					t.Errorf("%s: %v", lines, err)
					continue
				}
				who, err := signers.By(sig)
				if (err == nil) != want || gitVerifies(t, dir, lines) != want || want && who == "" {
					t.Errorf("%s\nhere %q %v, git %t, want %t", lines, who, err, gitVerifies(t, dir, lines), want)
				}
			}
		})
	}
}

// A certificate counts for those names that the authority gave it, in its time.
func TestAuthoritiesAgainstGit(t *testing.T) {
	t.Parallel()
	ca, caPublic := signingKey(t, "-t", "ed25519")
	_, other := signingKey(t, "-t", "ed25519")
	certified := func(args ...string) desired.Signature {
		key, _ := signingKey(t, "-t", "ed25519")
		sshKeygen(t, append(append([]string{"-q", "-s", ca, "-I", "id"}, args...), key+".pub")...)
		dir := newWork(t)
		commitSigned(t, dir, key+"-cert.pub", commitTime, "Certified", "a", "1")
		return verifiedBy(t, dir, "jan@acme.com", "*@acme.com cert-authority,namespaces=\"git\" "+caPublic)
	}
	good := certified("-n", "eva,jan@acme.com", "-V", "20260101000000Z:20270101000000Z")
	for lines, want := range map[string]bool{
		"*@acme.com cert-authority " + caPublic:                           true,
		"*@acme.com " + caPublic:                                          false,
		"*@other.com cert-authority " + caPublic:                          false,
		"*@acme.com cert-authority " + other:                              false,
		"*@acme.com cert-authority,valid-before=\"20260101\" " + caPublic: false,
		"!jan@*,*@acme.com cert-authority " + caPublic:                    false,
	} {
		signers, err := ParseSigners("s", []byte(lines))
		if err != nil {
			t.Fatal(err)
		}
		if who, err := signers.By(good); (err == nil) != want || want && who != "jan@acme.com" {
			t.Errorf("%s: %q, %v", lines, who, err)
		}
	}
	certified("-n", "jan@acme.com", "-V", "20250101000000Z:20260101000000Z")
	certified("-n", "jan@acme.com", "-V", "20260701000000Z:20270101000000Z")
	certified("-n", "jan@other.com", "-V", "always:forever")
	certified("-h", "-n", "jan@acme.com")
}

// verifiedBy compares with git, and returns the signature of the newest commit.
func verifiedBy(t *testing.T, dir, want, lines string) desired.Signature {
	t.Helper()
	sig := headSignature(t, dir)
	signers, err := ParseSigners("s", []byte(lines))
	if err != nil {
		t.Fatal(err)
	}
	who, err := signers.By(sig)
	if theirs := gitVerifies(t, dir, lines); theirs != (err == nil) || theirs && who != want {
		t.Errorf("git says %t, here %q, %v", theirs, who, err)
	}
	return sig
}

// What was changed after it was signed, or is signed by a mere key, or for
// something else, does not count.
func TestSignaturesThatDoNotCount(t *testing.T) {
	key, public := signingKey(t, "-t", "ed25519")
	dir := newWork(t)
	commitSigned(t, dir, key, commitTime, "Signed", "a", "1")
	good := headSignature(t, dir)
	signers, err := ParseSigners("s", []byte("jan "+public))
	if err != nil {
		t.Fatal(err)
	}
	if who, err := signers.By(good); err != nil || who != "jan" {
		t.Fatal(who, err)
	}
	file := filepath.Join(t.TempDir(), "payload")
	write(t, file, string(good.Payload))
	sshKeygen(t, "-Y", "sign", "-q", "-n", "file", "-f", key, file)
	changed := strings.Replace(string(good.Payload), "Signed", "Forged", 1)
	for name, sig := range map[string]desired.Signature{
		"none":              {Payload: good.Payload, Time: good.Time},
		"changed":           {Armoured: good.Armoured, Payload: []byte(changed), Time: good.Time},
		"another namespace": {Armoured: read(t, file+".sig"), Payload: good.Payload, Time: good.Time},
		"PGP":               {Armoured: "-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n", Payload: good.Payload},
		"damaged":           {Armoured: strings.Replace(good.Armoured, "U1NIU0lH", "U1NIU0lI", 1), Payload: good.Payload},
		"cut":               {Armoured: good.Armoured[:len(good.Armoured)/2], Payload: good.Payload},
		"something before":  {Armoured: "x" + good.Armoured, Payload: good.Payload},
		"something after":   {Armoured: good.Armoured + "x", Payload: good.Payload},
		"twice":             {Armoured: good.Armoured + good.Armoured, Payload: good.Payload},
		"long":              {Armoured: good.Armoured + strings.Repeat("\n", maxSignature), Payload: good.Payload},
	} {
		if who, err := signers.By(sig); err == nil {
			t.Errorf("%s: counts, of %s", name, who)
		}
	}
	two := "tree x\ngpgsig a\n b\ngpgsig c\n\nm\n"
	if armoured, payload := splitSignature([]byte(two)); armoured != "" || string(payload) != "tree x\n\nm\n" {
		t.Errorf("two signatures are %q of %q", armoured, payload)
	}
}

// What is signed here is good for git.
func TestOwnSignaturesAgainstGit(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	line := "fairlead@host namespaces=\"git\" " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(signer.PublicKey())))
	dir := newWork(t)
	r := open(t, Options{Repo: dir})
	var asked desired.Snapshot
	_, err = r.Commit(t.Context(), CommitRequest{Files: map[string][]byte{"a": []byte("b")}, Message: "Change\n\nbody", Sign: func(onto desired.Snapshot) (Signer, error) {
		asked = onto
		return signer, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if asked.Commit != git(t, dir, "rev-parse", "HEAD~1") {
		t.Errorf("asked about %s", asked.Commit)
	}
	verifiedBy(t, dir, "fairlead@host", line)
	git(t, dir, "fsck", "--strict")
	refusal := errors.New("not on top of this")
	_, err = r.Restore(t.Context(), RestoreRequest{Path: ".", Commit: git(t, dir, "rev-parse", "HEAD~1"), Sign: func(desired.Snapshot) (Signer, error) { return nil, refusal }})
	if !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
	if _, err := r.Restore(t.Context(), RestoreRequest{Path: ".", Commit: git(t, dir, "rev-parse", "HEAD~1"), Sign: func(desired.Snapshot) (Signer, error) { return nil, nil }}); err != nil {
		t.Fatal(err)
	}
	if s := headSignature(t, dir); s.Armoured != "" {
		t.Error("signed without a key")
	}
}

func TestSignersProblems(t *testing.T) {
	_, public := signingKey(t, "-t", "ed25519")
	_, weak := signingKey(t, "-t", "rsa", "-b", "1024")
	for line, want := range map[string]string{
		"":                                  "it lists nobody",
		"# jan " + public:                   "it lists nobody",
		"jan":                               "it has no key",
		"jan ssh-ed25519":                   "it has no key",
		"jan ssh-ed25519 AAAA":              "its key cannot be read",
		public:                              "it has no key",
		"\"jan " + public:                   "a quote is not closed",
		"\"\" " + public:                    "whose key",
		"jan namespaces=git " + public:      "namespaces is not an option",
		"jan namespaces=\"\" " + public:     "namespaces is empty",
		"jan touch " + public:               "touch is not an option",
		"jan no=\"x\" " + public:            "no is not an option",
		"jan namespaces=\"git\"x " + public: "stands what is no option",
		"jan namespaces=\"git\", " + public: "stands what is no option",
		"jan namespaces=\"git\",namespaces=\"git\" " + public:              "namespaces stands twice",
		"jan valid-after=\"tomorrow\" " + public:                           "is not a time",
		"jan valid-after=\"20261332\" " + public:                           "is not a time",
		"jan valid-after=\"20270101\",valid-before=\"20260101\" " + public: "is not after",
		"jan " + weak: "1024 bits",
		"jan ssh-rsa " + strings.Fields(public)[1]: "its key cannot be read",
	} {
		_, err := ParseSigners("f", []byte("\n"+line+"\n"))
		var problems desired.Problems
		if !errors.As(err, &problems) || !strings.Contains(err.Error(), want) || problems[0].Line == 0 && want != "it lists nobody" {
			t.Errorf("%q: got %v, want %s", line, err, want)
		}
	}
	if _, err := ParseSigners("f", make([]byte, MaxSigners+1)); err == nil {
		t.Error("no bound")
	}
	many := strings.Repeat("bad\n", 100)
	var problems desired.Problems
	if _, err := ParseSigners("f", []byte(many)); !errors.As(err, &problems) || len(problems) > 20 {
		t.Errorf("%d problems", len(problems))
	}
}

// Any line that is made of parts that are right is read as it was made.
func TestSignersRoundTrip(t *testing.T) {
	_, public := signingKey(t, "-t", "ed25519")
	rapid.Check(t, func(t *rapid.T) {
		who := rapid.StringMatching(`[a-z*?!@.]{1,8}(,[a-z*?!@.]{1,8}){0,2}`).Draw(t, "who")
		namespaces := rapid.StringMatching(`[a-z*!"]{1,6}(,[a-z*!]{1,6})?`).Draw(t, "namespaces")
		after := time.Unix(rapid.Int64Range(1e6, 4e9).Draw(t, "after"), 0).UTC()
		options := []string{fmt.Sprintf("namespaces=\"%s\"", strings.ReplaceAll(namespaces, `"`, `\"`)), fmt.Sprintf("valid-after=\"%sZ\"", after.Format("20060102150405"))}
		if ca := rapid.Bool().Draw(t, "ca"); ca {
			options = append(options, "cert-authority")
		}
		options = rapid.Permutation(options).Draw(t, "order")
		s, err := parseSigner(who + " " + strings.Join(options, ",") + "  " + public + " a comment")
		if err != nil || s.principals != who || s.namespaces != namespaces || !s.after.Equal(after) || s.authority != (len(options) == 3) {
			t.Fatalf("%+v, %v", s, err)
		}
	})
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		list, name string
		want       bool
	}{
		{"a", "a", true}, {"a", "b", false}, {"*", "", true}, {"*@acme.com", "jan/x@acme.com", true}, {"j?n", "jan", true}, {"j?n", "jn", false},
		{"!a,*", "a", false}, {"*,!a", "a", false}, {"!a", "b", false}, {"[a]", "a", false}, {"[a]", "[a]", true}, {`\a`, `\a`, true}, {`\*`, `\x`, true}, {"", "", true}, {"", "a", false},
	} {
		if matchList(tt.list, tt.name) != tt.want {
			t.Errorf("%q, %q: not %t", tt.list, tt.name, tt.want)
		}
	}
}

func FuzzSigners(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEaRUcQYTxZrf0m2ffPdO6n3NyoANVPpWdcUMPXVmr4p"
	for _, s := range []string{"jan " + key, "\"a b\" cert-authority,namespaces=\"git\",valid-after=\"20260101Z\" " + key + " c", "# x\n\n", "a b c", `a namespaces="\"" ` + key} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSigners("f", []byte(text))
		if err == nil && len(s.list) == 0 {
			t.Fatal("nobody is listed, and nothing is wrong")
		}
		if who, err := s.By(desired.Signature{Payload: []byte("x")}); err == nil {
			t.Fatalf("%s signed nothing", who)
		}
	})
}

// FuzzSSHSignature: what is read is written the same, and no mutation of a
// signature is good for another message.
func FuzzSSHSignature(f *testing.F) {
	signer, err := ssh.NewSignerFromKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		f.Fatal(err)
	}
	good, err := signSSH(signer, []byte("message"))
	if err != nil {
		f.Fatal(err)
	}
	raw, _ := base64.StdEncoding.DecodeString(strings.Join(strings.Split(good, "\n")[1:5], ""))
	f.Add(raw)
	f.Add([]byte("SSHSIG\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := parseSSHBlob(raw)
		if err != nil {
			return
		}
		if s.verify([]byte("another"), commitNamespace) == nil && sameKey(s.key, signer.PublicKey()) {
			t.Fatal("it is good for another message")
		}
		_ = s.verify([]byte("message"), commitNamespace)
	})
}

func FuzzSplitSignature(f *testing.F) {
	f.Add([]byte("tree a\nparent b\nauthor A <a> 1 +0000\ncommitter A <a> 1 +0000\ngpgsig -----BEGIN\n x\n -----END\n\nmessage\n"))
	f.Add([]byte("gpgsig"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		armoured, payload := splitSignature(raw)
		if len(armoured)+len(payload) > len(raw) {
			t.Fatal("more came out than went in")
		}
		if again, same := splitSignature(payload); again != "" || string(same) != string(payload) {
			t.Fatalf("a signature is left in %q", payload)
		}
	})
}
