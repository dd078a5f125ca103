package files

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/fairlead/fairlead/connectors/internal/rest"
)

const (
	wholeTries = 3       // of a file that cannot be read on where it broke
	tellEach   = 4 << 20 // bytes
)

// convert leaves a file as path with its ending, from the start again when it
// could not be read to its end or became another.
func (r *run) convert(ctx context.Context, from store, o *object, path string) (got came, size int64, err error) {
	for try := 1; ; try++ {
		budget, done := r.budget, r.done
		got, size, err = r.once(ctx, from, o, path)
		if err == nil || rest.IsPermanent(err) || try == wholeTries || ctx.Err() != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return got, size, err
		}
		r.budget, r.done = budget, done
		if r.job.Log != nil {
			r.job.Log.WithField("file", o.shown).WithError(err).Debug("reading a file anew")
		}
		if wait := rest.Sleep(ctx, time.Duration(try)*time.Second); wait != nil {
			return got, size, wait
		}
		if errors.Is(err, errChanged) {
			if err := look(ctx, from, o); err != nil {
				return got, size, err
			}
		}
	}
}

// look finds out what a file is now.
func look(ctx context.Context, from store, o *object) error {
	p := o.place
	if p.glob() {
		p.pattern = exactly(o.name)
	}
	shown, found := o.shown, false
	err := from.list(ctx, p, func(now object) error {
		if now.shown == shown {
			now.place = o.place
			*o, found = now, true
		}
		return nil
	})
	if err == nil && !found {
		err = errMissing
	}
	return err
}

func (r *run) once(ctx context.Context, from store, o *object, path string) (got came, size int64, err error) {
	in, err := openStream(ctx, from, o, r.progress)
	if err != nil {
		return got, 0, err
	}
	defer in.Close()
	declared, err := parseFormat(r.plan.spec.Format)
	if err != nil {
		return got, 0, err
	}
	defer func() {
		if err != nil && in.ended && !rest.IsPermanent(err) { // the file itself is cut off
			err = wrong("See that the file is whole where it comes from", "%w", err)
		}
	}()
	file, err := unpack(in, declared, o.name, r.job.Dir, &r.budget)
	if err != nil {
		return got, 0, err
	}
	defer file.close()
	out, err := create(path, file)
	if err != nil {
		return got, 0, rest.Permanent(err)
	}
	defer func() {
		if err = errors.Join(err, out.file.Close()); err != nil {
			_ = os.Remove(out.file.Name()) // Dir is thrown away with the run in any case
		}
	}()
	switch file.format {
	case formatParquet:
		got, err = r.plan.read.parquet(file, out.file)
	case formatJSON, formatNDJSON:
		got, err = r.plan.read.json(file.Reader, file.format, out)
	default:
		got, err = r.plan.read.csv(file.Reader, file.format, out)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, file.Reader) // what stands after the data is checked, too
	}
	if err == nil {
		size, err = out.finish()
	}
	return got, size, err
}

func (r *run) progress(n int) {
	r.done += int64(n)
	if r.job.Progress == nil || r.done-r.told < tellEach && r.told != 0 {
		return
	}
	r.told = r.done
	total := int64(0)
	for _, o := range r.plan.fetch {
		if o.size < 0 {
			total = 0
			break
		}
		total += o.size
	}
	r.job.Progress(r.plan.spec.Name, r.done, total)
}

// output is a file that is written: packed when what it is made of was.
type output struct {
	io.Writer
	file *os.File
	zip  *gzip.Writer
	buf  *bufio.Writer
}

func create(path string, from *opened) (*output, error) {
	end := ".csv"
	switch from.format {
	case formatParquet:
		end = ".parquet"
	case formatJSON, formatNDJSON:
		end = ".ndjson"
	}
	pack := from.packed && from.format != formatParquet
	if pack {
		end += ".gz"
	}
	file, err := os.OpenFile(path+end, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		err = fmt.Errorf("write %s: two files make the same part", path)
	}
	if err != nil {
		return nil, err
	}
	o := &output{Writer: file, file: file}
	if pack {
		o.buf = bufio.NewWriterSize(file, buffer)
		o.zip, err = gzip.NewWriterLevel(o.buf, gzip.BestSpeed)
		o.Writer = o.zip
	}
	return o, err
}

func (o *output) finish() (int64, error) {
	var err error
	if o.zip != nil {
		err = errors.Join(o.zip.Close(), o.buf.Flush())
	}
	info, stat := o.file.Stat()
	if err = errors.Join(err, stat, o.file.Sync()); err != nil {
		return 0, rest.Permanent(err)
	}
	return info.Size(), nil
}
