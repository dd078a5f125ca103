package store

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/fairlead/fairlead/certs/pair"
)

// Format is how a pair is written for another server.
type Format string

// The formats. PEM is two files, fullchain.pem and privkey.pem; Combined is
// combined.pem, chain and key; PKCS12 is keystore.p12.
const (
	PEM      Format = "pem"
	Combined Format = "combined"
	PKCS12   Format = "p12"

	combinedName = "combined.pem"
	keystoreName = "keystore.p12"

	prefix   = ".fairlead-"
	liveName = prefix + "live"
)

// Target is a directory that a pair is delivered to, for a server that reads it
// there.
//
// The names in it are links through .fairlead-live to a directory of the
// generation, so that renaming one link changes all files in one step. That is
// seen in a container which has the directory mounted, and in none that has a
// file of it mounted. The directory is the daemon's, so that the reader cannot
// change it; the files belong to their reader.
type Target struct {
	Dir      string      // made with mode 0755 when it is missing; the one above must be there
	UID, GID int         // of the files; -1: the daemon's
	KeyMode  fs.FileMode // of files that hold the key; 0: 0600; others may never read them
	Formats  []Format    // none: PEM
	Password string      // of the PKCS #12 file

	step func(string) // told before each thing that is done; for tests
}

// Format keeps the password out of whatever prints the target.
func (t Target) Format(w fmt.State, _ rune) { _, _ = fmt.Fprintf(w, "directory %s", t.Dir) }

// Deliver makes a directory hold the pair, all formats in one step, and returns
// what was not so before: nothing, when it did. With an error what was delivered
// before is still there. One call at a time may be at work in a directory.
func Deliver(p pair.Pair, t Target) ([]Drift, error) {
	d, err := deliver(p, t)
	if err != nil {
		return nil, fmt.Errorf("deliver certificate to %s: %w", t.Dir, err)
	}
	defer d.room.Close()
	amiss, err := d.bring()
	if err != nil {
		return nil, fmt.Errorf("deliver certificate to %s: %w", t.Dir, err)
	}
	return amiss, nil
}

// delivery is one call at work.
type delivery struct {
	Target
	room  room
	pair  pair.Pair
	files []file // keystore.p12 without its data: it is another each time

	wanted record // without the keystore's
}

func deliver(p pair.Pair, t Target) (d *delivery, err error) {
	if p.IsZero() {
		return nil, errors.New("there is no pair")
	}
	if t.KeyMode == 0 {
		t.KeyMode = secretMode
	}
	if t.KeyMode&^0o640 != 0 || t.KeyMode&0o400 == 0 {
		return nil, fmt.Errorf("the mode %04o of the key lets others read or change it, or its owner not read it; use 0600, 0640, 0440 or 0400", t.KeyMode)
	}
	d = &delivery{Target: t, pair: p}
	if d.files, err = t.files(p); err != nil {
		return nil, err
	}
	if d.wanted, err = recordOf(p, t.Password); err != nil {
		return nil, err
	}
	d.room, err = enter(t.Dir, 0o755, room{tmp: prefix + "tmp-", uid: t.UID, gid: t.GID, step: t.step})
	return d, err
}

func (t Target) files(p pair.Pair) (list []file, err error) {
	formats := slices.Compact(slices.Sorted(slices.Values(t.Formats)))
	if len(formats) == 0 {
		formats = []Format{PEM}
	}
	for _, f := range formats {
		var data []byte
		switch f {
		case PEM:
			data, err = p.PrivateKey()
			list = append(list, file{fullchainName, p.Fullchain(), publicMode}, file{privkeyName, data, t.KeyMode})
		case Combined:
			data, err = p.Combined()
			list = append(list, file{combinedName, data, t.KeyMode})
		case PKCS12:
			list = append(list, file{keystoreName, nil, t.KeyMode})
		default:
			err = fmt.Errorf("there is no format %q; use pem, combined or p12", f)
		}
		if err != nil {
			return nil, err
		}
	}
	return list, nil
}

// bring compares and writes what is missing: first a new generation, then the
// link to it, then the names that lead through the link.
func (d *delivery) bring() (amiss []Drift, err error) {
	if _, err := d.room.sweep(); err != nil {
		return nil, err
	}
	live, highest, err := d.look()
	if err != nil {
		return nil, err
	}
	if amiss = d.compare(live); len(amiss) > 0 {
		live = generationName(highest + 1)
		if err := d.write(live); err != nil {
			return nil, err
		}
	}
	for _, f := range d.files {
		drift := d.room.compareLink(f.name, path.Join(liveName, f.name))
		if drift == nil {
			continue
		}
		if drift.Found == what(fs.ModeDir) {
			return nil, fmt.Errorf("%s is a directory, as Docker makes one where a file to be mounted is missing: remove it, and mount the directory above", f.name)
		}
		if err := d.room.link(f.name, path.Join(liveName, f.name)); err != nil {
			return nil, err
		}
		amiss = append(amiss, *drift)
	}
	return amiss, d.tidy(live)
}

func generationName(n int) string { return prefix + strconv.Itoa(n) }

// look finds what is live, empty for nothing, and the highest number.
func (d *delivery) look() (live string, highest int, err error) {
	entries, err := d.room.list()
	if err != nil {
		return "", 0, err
	}
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), prefix)); err == nil && generationName(n) == e.Name() {
			highest = max(highest, n)
		}
	}
	if to, err := d.room.Readlink(liveName); err == nil && strings.HasPrefix(to, prefix) && !strings.Contains(to, "/") {
		live = to
	}
	return live, highest, nil
}

// compare says how what is live differs from the pair.
func (d *delivery) compare(live string) (amiss []Drift) {
	info, err := d.room.Lstat(live)
	if live == "" || err != nil || !info.IsDir() {
		return []Drift{{liveName, Missing, "nothing", "a link to a pair"}}
	}
	if info.Mode().Perm() != 0o755 {
		amiss = append(amiss, Drift{live, Mode, fmt.Sprintf("%04o", info.Mode().Perm()), "0755"})
	}
	was := d.record(live)
	outdated := was.Pair != "" && was.Pair != d.wanted.Pair // a renewal is no tampering
	for _, f := range d.files {
		name := path.Join(live, f.name)
		if f.name == keystoreName {
			f.data = d.keystore(name, was)
		}
		drift := d.room.compare(name, f)
		if drift == nil {
			continue
		}
		switch {
		case drift.Kind == Edited && outdated:
			drift = &Drift{name, Outdated, "another pair", fmt.Sprint(d.pair)}
		case drift.Kind == Edited && f.name == keystoreName:
			drift = &Drift{name, Edited, "damaged, or under another password", fmt.Sprint(d.pair)}
		}
		amiss = append(amiss, *drift)
	}
	return amiss
}

// record is what a generation was made of. It belongs to the daemon, and lies
// beside files that their reader could change: a PKCS #12 file is never parsed,
// because one made for it takes hours to decrypt.
type record struct {
	Pair     string `json:"pair"`               // names chain and key
	Password string `json:"password,omitempty"` // names that of the PKCS #12 file, to who has the key
	Keystore string `json:"keystore,omitempty"` // its sha256
}

func recordOf(p pair.Pair, password string) (record, error) {
	key, err := p.PrivateKey()
	if err != nil {
		return record{}, err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(password))
	return record{Pair: sum(append(p.Fullchain(), pair.SPKI(p.Leaf().PublicKey)...)), Password: hex.EncodeToString(mac.Sum(nil))}, nil
}

func (d *delivery) record(live string) (was record) {
	text, info, err := d.room.read(path.Join(live, metaName))
	if err != nil || d.room.mine().compareOwner(metaName, info) != nil || json.Unmarshal(text, &was) != nil {
		return record{}
	}
	return was
}

// keystore returns what is in the PKCS #12 file if it is the one that was made
// of this pair with this password: its bytes are others each time.
func (d *delivery) keystore(name string, was record) []byte {
	data, _, err := d.room.read(name)
	if err != nil || was.Pair != d.wanted.Pair || was.Password != d.wanted.Password || was.Keystore != sum(data) {
		return nil
	}
	return data
}

func (d *delivery) write(name string) error {
	files, made := slices.Clone(d.files), d.wanted
	for i, f := range files {
		if f.name != keystoreName {
			continue
		}
		data, err := d.pair.PKCS12(d.Password)
		if err != nil {
			return err
		}
		if back, err := pair.LoadPKCS12(data, d.Password); err != nil || !back.Equal(d.pair) {
			return errors.New("the PKCS #12 file that was made cannot be read back")
		}
		files[i].data, made.Keystore = data, sum(data)
	}
	text, err := json.Marshal(made)
	if err != nil {
		return err
	}
	if err := d.room.directory(name, 0o755, files, file{metaName, text, secretMode}); err != nil {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("%w; only root can give files to another user", err)
		}
		return err
	}
	if err = d.room.link(liveName, name); err == nil {
		return nil
	}
	if to, lerr := d.room.Readlink(liveName); lerr != nil || to != name {
		_ = d.room.RemoveAll(name) // the error is what counts
	}
	return err
}

// tidy removes the names of formats that are not wanted any more, and all
// generations but the live one and the one before, which a reader may be at.
func (d *delivery) tidy(live string) error {
	for _, name := range []string{fullchainName, privkeyName, combinedName, keystoreName} {
		wanted := slices.ContainsFunc(d.files, func(f file) bool { return f.name == name })
		if to, err := d.room.Readlink(name); err == nil && !wanted && to == path.Join(liveName, name) {
			if err := d.room.Remove(name); err != nil {
				return err
			}
		}
	}
	entries, err := d.room.list()
	if err != nil {
		return err
	}
	var old []int
	for _, e := range entries {
		if n, err := strconv.Atoi(strings.TrimPrefix(e.Name(), prefix)); err == nil && generationName(n) == e.Name() && e.Name() != live {
			old = append(old, n)
		}
	}
	slices.Sort(old)
	for _, n := range old[:max(0, len(old)-1)] {
		if err := d.room.discard(generationName(n)); err != nil {
			return err
		}
	}
	return nil
}
