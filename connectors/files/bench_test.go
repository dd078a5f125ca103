package files

import (
	"strings"
	"testing"

	"github.com/fairlead/fairlead/connectors"
)

// BenchmarkSync reads one local file of 32 MiB as a table: from the disk, checked,
// to the disk.
func BenchmarkSync(b *testing.B) {
	row := "1234567;19,90;a note of some words and more;23.11.2026\n"
	text := "id;amount;note;day\n" + strings.Repeat(row, 32<<20/len(row))
	for name, c := range map[string]struct{ file, text string }{"plain": {"t.csv", text}, "gzip": {"t.csv.gz", gzipped(text)}} {
		b.Run(name, func(b *testing.B) {
			_, s := localSource(b, c.file, c.text)
			sp := spec(c.file)
			sp.Types, sp.Options = map[string]string{"amount": "DECIMAL(12,2)", "day": "DATE"}, map[string]string{"decimal": ",", "dateFormat": "%d.%m.%Y"}
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				report, err := s.Sync(b.Context(), connectors.Job{Dir: b.TempDir(), Tables: []connectors.TableSpec{sp}})
				if err != nil || report.Outcome() != connectors.OK {
					b.Fatalf("%+v, %v", report, err)
				}
			}
		})
	}
}
