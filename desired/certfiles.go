package desired

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path"
	"strings"
)

// The bounds of files that certificates name. maxRoots is more than the system
// trusts.
const (
	maxRoots     = 500
	maxEncrypted = 1 << 20
)

// certificateFiles are the files of the repository that a certificate names.
type certificateFiles struct {
	ca        string
	encrypted map[string][]byte
}

// certificateFiles reads them. An error is only what makes the answer unknown.
func (l *loader) certificateFiles() (map[string]certificateFiles, error) {
	read := map[string]certificateFiles{}
	for _, name := range sortedKeys(l.file.Certificates) {
		at, c := "certificates."+name, l.file.Certificates[name]
		ca, err := l.roots(&l.file.document, at+".ca", c.CA)
		if err != nil {
			return nil, err
		}
		files := certificateFiles{ca: ca}
		for _, ref := range []struct{ key, text string }{{"fullchain", c.Fullchain}, {"privkey", c.Privkey}} {
			name := treeFile(ref.text)
			if name == "" || l.file.bad(at+"."+ref.key) {
				continue
			}
			data, err := l.encrypted(at+"."+ref.key, name)
			if err != nil {
				return nil, err
			}
			if files.encrypted == nil {
				files.encrypted = map[string][]byte{}
			}
			files.encrypted[name] = data
		}
		read[name] = files
	}
	return read, nil
}

// roots reads certificates in PEM, which a document names relative to itself.
// What stands between them is left out, so that a comment does not change what
// is asked for.
func (l *loader) roots(doc *document, field, name string) (string, error) {
	if name == "" || doc.bad(field) {
		return "", nil
	}
	data, ok, err := l.treeFile(doc, field, name, path.Join(path.Dir(doc.file), name))
	if err != nil || !ok {
		return "", err
	}
	var out bytes.Buffer
	n := 0
	for rest := data; ; n++ {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		text, hint := badRoot(block)
		if n == maxRoots {
			text, hint = fmt.Sprintf("holds more than %d certificates", maxRoots), "name the few that are needed"
		}
		if text != "" {
			doc.add(field, fmt.Sprintf("%q %s", clip(name), text), hint)
			return "", nil
		}
		_ = pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}) // into memory: cannot fail
	}
	if n == 0 || bytes.Count(data, []byte("-----BEGIN ")) > n {
		doc.add(field, fmt.Sprintf("%q is not certificates in PEM, or one is damaged", clip(name)), "it begins with -----BEGIN CERTIFICATE-----")
		return "", nil
	}
	return out.String(), nil
}

func badRoot(b *pem.Block) (text, hint string) {
	if strings.Contains(b.Type, "PRIVATE KEY") {
		return "holds a private key", "remove it, and have the key replaced: whoever reads the repository has it"
	}
	if b.Type != "CERTIFICATE" {
		return "holds something else than certificates", "a block of the kind " + strings.Map(printable, clip(b.Type))
	}
	if _, err := x509.ParseCertificate(b.Bytes); err != nil {
		return "holds a certificate that does not parse", ""
	}
	return "", ""
}

// encrypted reads a file that age encrypted.
func (l *loader) encrypted(field, name string) ([]byte, error) {
	data, ok, err := l.treeFile(&l.file.document, field, name, name)
	if err != nil || !ok {
		return nil, err
	}
	start := bytes.TrimLeft(data, " \t\r\n")
	switch {
	case bytes.Contains(data, []byte("PRIVATE KEY-----")):
		l.file.add(field, fmt.Sprintf("%q is a private key in the clear", clip(name)), "encrypt it with age, and have the key replaced: whoever reads the repository has it")
	case !bytes.HasPrefix(start, []byte("-----BEGIN AGE ENCRYPTED FILE-----")) && !bytes.HasPrefix(data, []byte("age-encryption.org/v1\n")):
		l.file.add(field, fmt.Sprintf("%q is not a file that age encrypted", clip(name)), "age -r RECIPIENT -o "+clip(name)+" FILE")
	default:
		return data, nil
	}
	return nil, nil
}

// treeFile reads a file of the repository; full is its path from the root.
func (l *loader) treeFile(doc *document, field, name, full string) (data []byte, ok bool, err error) {
	if strings.HasPrefix(full, "../") || full == ".." {
		doc.add(field, fmt.Sprintf("%q is outside the repository", clip(name)), "")
		return nil, false, nil
	}
	data, err = readBounded(l.fsys, full)
	switch {
	case err != nil:
		return nil, false, err
	case data == nil:
		hint := "the path is relative to this directory"
		if full == name {
			hint = "the path is from the root of the repository"
		}
		doc.add(field, fmt.Sprintf("there is no file %q", clip(name)), hint)
	case len(data) > maxEncrypted:
		doc.add(field, fmt.Sprintf("%q is larger than %d KiB", clip(name), maxEncrypted>>10), "")
	default:
		return data, true, nil
	}
	return nil, false, nil
}
