package main

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/desired"
)

// claim is a name of which a host has only one: who has it first keeps it, and
// the daemon begins nothing of the others.
type claim struct {
	name  string // "host data.acme.com"
	field string
	hint  string
	write *regexp.Regexp // the line that says it; nil: the name comes of itself
	file  string         // where that is
	line  int
}

// claimer is an instance with what it claims, and where that is written.
type claimer struct {
	name   string
	found  *validated
	claims []claim
}

// claimsOf lists what an instance claims of its host, in a fixed order, with
// where it is written.
func claimsOf(spec desired.Spec, tree fs.FS, dir string) []claim {
	list := append(claimedHosts(spec), claimedNames(spec)...)
	files := sourcesIn(tree, dir)
	for i := range list {
		list[i].file, list[i].line = dir, 0
		for _, f := range files {
			if line := f.lineOf(list[i].write); line > 0 {
				list[i].file, list[i].line = f.name, line
				break
			}
		}
	}
	return list
}

func claimedHosts(spec desired.Spec) (list []claim) {
	for i, f := range spec.Front {
		list = append(list, claim{name: "host " + f.Host, field: fmt.Sprintf("front[%d].host", i),
			hint: "take it out of front in one of the two", write: written("host", f.Host)})
	}
	return list
}

func claimedNames(spec desired.Spec) (list []claim) {
	for _, service := range spec.ServiceNames() {
		for replica := 1; replica <= max(spec.Services[service].Replicas, 1); replica++ {
			c := claim{name: "container " + spec.ContainerName(service, replica), field: "services." + service, hint: "rename one of the two services or instances"}
			if own := spec.Services[service].ContainerName; own != "" {
				c.field, c.hint, c.write = c.field+".container_name", "leave container_name out: the name then begins with the instance's", written("container_name", own)
			}
			list = append(list, c)
		}
	}
	var networks []claim
	for key, n := range spec.Networks {
		if !n.External {
			networks = append(networks, claim{name: "network " + n.Name, field: "networks." + key + ".name",
				hint: "leave name out, or declare it external: true in both", write: written("name", n.Name)})
		}
	}
	slices.SortFunc(networks, func(a, b claim) int { return strings.Compare(a.name, b.name) })
	return append(list, networks...)
}

// written matches the line that gives a key a value, in a mapping of any style.
func written(key, value string) *regexp.Regexp {
	return regexp.MustCompile(`(^|[\s{,"'-])` + key + `["']?\s*:\s*["']?` + regexp.QuoteMeta(value) + `(["'\s,}]|$)`)
}

// yamlFile is a file in which a claim may be written.
type yamlFile struct {
	name  string
	lines []string
}

// sourcesIn are the files of an instance's directory, instance.yaml first.
func sourcesIn(tree fs.FS, dir string) (list []yamlFile) {
	for _, pattern := range []string{"instance.yaml", "*.yaml", "*.yml"} {
		files, _ := fs.Glob(tree, path.Join(dir, pattern)) // the pattern is sound
		for _, file := range files {
			if data, err := fs.ReadFile(tree, file); err == nil { // else only the line is missing
				list = append(list, yamlFile{file, strings.Split(string(data), "\n")})
			}
		}
	}
	return list
}

func (f yamlFile) lineOf(says *regexp.Regexp) int {
	if says == nil {
		return 0
	}
	return 1 + slices.IndexFunc(f.lines, says.MatchString)
}

// checkClaims adds a problem to each instance that claims what one before it has.
func checkClaims(all []claimer) {
	type owner struct {
		*claimer
		claim
	}
	first := map[string]owner{}
	for i := range all {
		one := &all[i]
		for _, c := range one.claims {
			had, taken := first[c.name]
			if !taken {
				first[c.name] = owner{one, c}
				continue
			}
			if had.claimer.name == one.name {
				continue // the same instance, named twice
			}
			other := had.file
			if had.line > 0 {
				other = fmt.Sprintf("%s:%d", other, had.line)
			}
			one.found.OK = false
			one.found.Problems = append(one.found.Problems, desired.Problem{File: c.file, Line: c.line, Field: c.field,
				Text: fmt.Sprintf("%s is of instance %s already (%s); one host cannot have both", c.name, had.claimer.name, other), Hint: c.hint})
		}
	}
}
