package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/reconciler"
	"github.com/fairlead/fairlead/server"
)

// joined is the question of the story: it takes all three connectors to answer it.
const joined = `SELECT c.name, sum(o.total * r.rate) AS eur FROM orders o JOIN customers c ON c.id = o.customer
JOIN rates r USING (currency) GROUP BY c.name ORDER BY c.name`

const (
	firstOrders = "id,customer,currency,total\n1,1,CZK,500.00\n2,2,EUR,30.00\n3,1,CZK,250.00\n"
	moreOrders  = firstOrders + "4,3,EUR,12.50\n"
)

// dataDays are connectors: sources of data that come, change, break and go like everything else.
func dataDays() []step {
	return []step{
		{
			title: "Data: a file over https, a Python program and a PostgreSQL become tables by one commit",
			ask:   commits("Read orders, rates and customers", (*demo).writeConnectors), arrived: attached("orders", "rates", "customers"),
			checks: []check{joins("Alice=30 Bob=30"), untouched("app")},
			show:   []string{"connector", "ls"},
			then:   func(ctx context.Context, d *demo) error { return d.ask(ctx) },
		},
		{
			title: "The web server answers with a page for signing in: that connector is Degraded alone, its rows stay",
			ask:   breaksOrders, arrived: degraded("orders", "rates", "customers"),
			checks: []check{joins("Alice=30 Bob=30"), askedWell},
			show:   []string{"connector", "ls"},
		},
		{
			title: "The file is back, with another order",
			ask:   publishesOrders, arrived: attached("orders", "rates", "customers"),
			checks: []check{joins("Alice=30 Bob=30 Céline=12.5"), askedWell},
		},
		{
			title: "A commit changes the Python program: it runs again",
			ask: commits("Double the rate of the crown (by mistake)", func(d *demo) error {
				return d.edit("connectors/rates/extractor.py", `"CZK": 0.04`, `"CZK": 0.08`)
			}),
			arrived: attachedNow("rates"),
			checks:  []check{joins("Alice=60 Bob=30 Céline=12.5"), untouched("app"), askedWell},
		},
		{
			title: "git revert: the data of before is back",
			ask:   reverts("HEAD"), arrived: attachedNow("rates"),
			checks: []check{joins("Alice=30 Bob=30 Céline=12.5"), untouched("app"), askedWell},
			show:   []string{"tables"},
		},
	}
}

func (d *demo) exportFile() string { return filepath.Join(filepath.Dir(d.chainFile()), "orders.csv") }

// writeConnectors writes what the instance reads from now on.
func (d *demo) writeConnectors() error {
	_, port, ok := d.postgres()
	if !ok {
		return errors.New("PostgreSQL is gone")
	}
	values := strings.NewReplacer("https://exports.example.com", d.authorityURL(), "db.example.com:5432", "127.0.0.1:"+port)
	if err := writeFile(d.exportFile(), firstOrders); err != nil {
		return err
	}
	for name, content := range connectorFiles {
		if err := writeFile(filepath.Join(d.instance(), "connectors", name), values.Replace(content)); err != nil {
			return err
		}
	}
	return nil
}

var connectorFiles = map[string]string{
	"orders.yaml": `# A file of somebody's web server, read every hour.
files: {}
schedule: every 1h
tables:
  - name: orders
    paths: [https://exports.example.com/orders.csv]
    types: {id: BIGINT, customer: BIGINT, currency: VARCHAR, total: "DECIMAL(12,2)"}
    primaryKey: [id]
    owner: sales
`,
	"customers.yaml": `# A table of the shop's database. The password is this host's own.
postgres: {url: "postgres://reader:${secret:SHOP_PASSWORD}@db.example.com:5432/postgres?sslmode=disable"}
schedule: daily 05:00
timezone: Europe/Prague
tables:
  - {name: customers, id: public.customers, owner: sales}
`,
	"rates/connector.yaml": `# A program of our own, in a container without network.
image: fairlead-test/python:bookworm
schedule: daily 06:00
`,
	"rates/extractor.py": `import csv, os

rates = {"EUR": 1, "CZK": 0.04}
with open(os.path.join(os.environ["FAIRLEAD_OUT"], "rates.csv"), "w", newline="") as f:
    rows = csv.writer(f)
    rows.writerow(["currency", "rate"])
    rows.writerows(rates.items())
print(f"{len(rates)} rates")
`,
}

// breaksOrders puts a page where the export was, and has it read.
func breaksOrders(ctx context.Context, d *demo) ([]string, error) {
	page := "<!doctype html>\n<title>Sign in</title>\n<p>Your session has ended. Please sign in.\n"
	return d.readOrders(ctx, page, "answers 200 with a page for signing in", 1)
}

func publishesOrders(ctx context.Context, d *demo) ([]string, error) {
	return d.readOrders(ctx, moreOrders, "has four orders", 0)
}

func (d *demo) readOrders(ctx context.Context, content, says string, want int) ([]string, error) {
	d.asked = time.Now()
	if err := writeFile(d.exportFile(), content); err != nil {
		return nil, fmt.Errorf("publish orders: %w", err)
	}
	code, said, err := d.fairleadCode(ctx, "connector", "run", "orders")
	if err == nil && code != want {
		err = fmt.Errorf("fairlead connector run ends with %d: %s", code, said)
	}
	return []string{d.authorityURL() + "/orders.csv " + says, fmt.Sprintf("fairlead connector run orders    # it ends with %d", want)}, err
}

func (v view) attachment(name string) (a reconciler.AttachmentStatus) {
	for _, a := range v.status.Attachments {
		if a.Name == name {
			return a
		}
	}
	return a
}

// attached says whether connectors are read and their data is there.
func attached(names ...string) func(view) bool {
	return func(v view) bool {
		for _, name := range names {
			if a := v.attachment(name); a.Phase != reconciler.AttachmentLive || a.Running {
				return false
			}
		}
		return v.status.Applied.Commit == v.head
	}
}

// attachedNow says whether the data is that of the newest commit.
func attachedNow(name string) func(view) bool {
	return func(v view) bool {
		a := v.attachment(name)
		return attached(name)(v) && a.Commit == v.head && a.Identity == a.Attached
	}
}

// degraded says whether one connector is, and the others are not.
func degraded(name string, others ...string) func(view) bool {
	return func(v view) bool {
		a := v.attachment(name)
		return a.Phase == reconciler.AttachmentDegraded && !a.Running && attached(others...)(v)
	}
}

// joins checks the answer to the question of the story.
func joins(want string) check {
	return check{"fairlead query joins the three: " + want, func(ctx context.Context, d *demo) error {
		said, err := d.fairlead(ctx, "query", "-o", "csv", strings.ReplaceAll(joined, "\n", " "))
		if err != nil {
			return err
		}
		var got []string
		for _, line := range strings.Split(strings.ReplaceAll(strings.TrimSpace(said), "\r\n", "\n"), "\n")[1:] {
			name, amount, _ := strings.Cut(line, ",")
			if strings.Contains(amount, ".") {
				amount = strings.TrimRight(strings.TrimRight(amount, "0"), ".")
			}
			got = append(got, name+"="+amount)
		}
		if strings.Join(got, " ") != want {
			return fmt.Errorf("it answers %s", strings.Join(got, " "))
		}
		return nil
	}}
}

// asker asks the question of the story all the while.
type asker struct {
	stop           context.CancelFunc
	done           chan struct{}
	asked, refused atomic.Int64
	first          atomic.Pointer[string] // error
}

// askEvery leaves the machine time for the rest of the story.
const askEvery = 50 * time.Millisecond

// ask has somebody ask from now on.
func (d *demo) ask(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	a := &asker{stop: cancel, done: make(chan struct{})}
	d.asker = a
	go func() {
		defer close(a.done)
		ticker := time.NewTicker(askEvery)
		defer ticker.Stop()
		for ; ctx.Err() == nil; <-ticker.C {
			_, err := d.client.Query(ctx, d.name, server.Query{SQL: joined, Format: "json"}, func(server.QueryResult) error { return nil }, io.Discard)
			if ctx.Err() != nil {
				return
			}
			a.asked.Add(1)
			if err != nil {
				text := err.Error()
				a.refused.Add(1)
				a.first.CompareAndSwap(nil, &text)
			}
		}
	}()
	return nil
}

// leave ends the asking.
func (a *asker) leave() {
	if a != nil {
		a.stop()
		<-a.done
	}
}

// askedWell checks that no question went unanswered.
var askedWell = check{"every query meanwhile was answered", func(_ context.Context, d *demo) error {
	if n := d.asker.refused.Load(); n > 0 {
		return fmt.Errorf("%d of %d were not; the first: %s", n, d.asker.asked.Load(), *d.asker.first.Load())
	}
	if d.asker.asked.Load() == 0 {
		return errors.New("nobody asked")
	}
	return nil
}}

// addSecret writes a value that only this host knows.
func (p place) addSecret(name, value string) error {
	f, err := os.OpenFile(filepath.Join(p.data(), "instances", p.name, "local", ".env"), os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write secret: %w", err)
	}
	_, err = fmt.Fprintf(f, "%s=%s\n", name, value)
	return errors.Join(err, f.Close())
}

func (d *demo) pythonThere(ctx context.Context) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	_, err = output(ctx, root, nil, "scripts/pythonimage.sh")
	return err
}
