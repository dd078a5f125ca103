package analytics

import (
	"fmt"
	"os"
)

// Figures are those of the query workers of one instance.
type Figures struct {
	Instance string
	Workers  int // that run
	Busy     int
	Waiting  int   // queries that wait for one
	Started  int   // since the start of the daemon, tries that failed included
	Failing  int   // starts in a row that failed
	Memory   int64 // bytes that the workers have resident
}

// Figures tells of every instance that has data, in no order.
func (a *Analytics) Figures() (list []Figures) {
	a.mu.Lock()
	all := make([]*instance, 0, len(a.instances))
	for _, i := range a.instances {
		all = append(all, i)
	}
	a.mu.Unlock()
	for _, i := range all {
		list = append(list, i.pool.figures(i.name))
	}
	return list
}

func (p *pool) figures(instance string) Figures {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := Figures{Instance: instance, Workers: len(p.all), Waiting: p.queue.length, Started: p.number, Failing: p.fails}
	for w := range p.all {
		if w.busy {
			f.Busy++
		}
		f.Memory += residentOf(w.cmd.Process.Pid)
	}
	return f
}

// residentOf is the memory of a process that the system has given it; 0 when it
// is gone (proc_pid_statm(5)).
func residentOf(pid int) int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	var size, resident int64
	if err != nil {
		return 0
	}
	if _, err := fmt.Sscan(string(text), &size, &resident); err != nil {
		return 0
	}
	return resident * int64(os.Getpagesize())
}
