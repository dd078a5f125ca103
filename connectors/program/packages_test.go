package program_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/desired"
)

// wheel writes the smallest package that pip installs (PEP 427): one module that
// says its version.
func (r *rig) wheel(version string) {
	r.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	info := "fldtpkg-" + version + ".dist-info/"
	var record strings.Builder
	add := func(name, content string) {
		w, err := z.Create(name)
		r.check(err)
		_, err = w.Write([]byte(content))
		r.check(err)
		sum := sha256.Sum256([]byte(content))
		fmt.Fprintf(&record, "%s,sha256=%s,%d\n", name, base64.RawURLEncoding.EncodeToString(sum[:]), len(content))
	}
	add("fldtpkg.py", fmt.Sprintf("version = %q\n", version))
	add(info+"METADATA", "Metadata-Version: 2.1\nName: fldtpkg\nVersion: "+version+"\n")
	add(info+"WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
	add(info+"RECORD", record.String()+info+"RECORD,,\n")
	r.check(z.Close())
	r.check(os.MkdirAll(filepath.Join(r.dir, "vendor"), 0o755))
	r.check(os.WriteFile(filepath.Join(r.dir, "vendor", "fldtpkg-"+version+"-py3-none-any.whl"), buf.Bytes(), 0o644))
}

func (r *rig) installed() (dirs []string) {
	r.Helper()
	dirs, err := filepath.Glob(filepath.Join(r.owner, "instances", r.instance, "cache", "python", "*"))
	r.check(err)
	return dirs
}

const usePackage = `
import os, fldtpkg
print("running with", fldtpkg.version)
open(os.environ["FAIRLEAD_OUT"] + "/orders.csv", "w").write("id\n")
`

func TestPackagesAreInstalledOnce(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, p desired.ProgramSource) {
		r := newRig(t)
		r.wheel("1.0")
		r.file("extractor.py", usePackage)
		r.file("requirements.txt", "# nothing but this\n--no-index\n--find-links vendor\nfldtpkg==1.0\n")
		var both sync.WaitGroup
		runs := make([]connectors.Run, 2)
		logs := make([]*log, 2)
		for i := range runs {
			runs[i], logs[i] = r.job(p)
			runs[i].Source = fmt.Sprintf("shop%d", i)
			both.Go(func() {
				if _, err := r.runner.Run(t.Context(), runs[i]); err != nil {
					t.Errorf("%v\n%s", err, logs[i])
				}
			})
		}
		both.Wait()
		all := logs[0].String() + logs[1].String()
		if strings.Count(all, "installing the packages") != 1 || strings.Count(all, "running with 1.0") != 2 {
			t.Errorf("two runs at once said:\n%s", all)
		}
		if again := r.good(p).log.String(); again != "running with 1.0\n" {
			t.Errorf("a third run said:\n%s", again)
		}
		// Others that were not used for long make way for new ones.
		r.check(os.Chtimes(r.installed()[0], time.Time{}, time.Now().Add(-31*24*time.Hour)))
		r.wheel("2.0")
		r.file("requirements.txt", "--no-index\n--find-links vendor\nfldtpkg==2.0\n")
		if now := r.good(p).log.String(); !strings.Contains(now, "running with 2.0") {
			t.Errorf("after a change:\n%s", now)
		}
		if dirs := r.installed(); len(dirs) != 1 {
			t.Errorf("installed: %v", dirs)
		}
	})
}

func TestPackagesThatAreNotToBeHad(t *testing.T) {
	t.Parallel()
	ways(t, func(t *testing.T, p desired.ProgramSource) {
		r := newRig(t)
		r.file("extractor.py", usePackage)
		r.file("wanted.txt", "--no-index\nfldtpkg==3.0\n")
		p.Requirements = "wanted.txt"
		p.Env = map[string]string{"TOKEN": "fldtpkg==3.0"}
		res := r.bad(p, "wanted.txt", "pip ended with exit code 1: ERROR: No matching distribution found for (sensitive)")
		if strings.Contains(res.log.String(), "running") || len(r.installed()) > 0 {
			t.Errorf("installed: %v\n%s", r.installed(), res.log)
		}
		p.Requirements = "../owner.txt"
		r.bad(p, "escapes")
	})
}

// What says where to install from reaches pip; what else was declared does not.
func TestTheIndexIsDeclared(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.wheel("1.0")
	r.file("extractor.py", usePackage)
	r.file("requirements.txt", "fldtpkg==1.0\n")
	p := tierA
	p.Env = map[string]string{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/connector/vendor"}
	r.good(p)
}
