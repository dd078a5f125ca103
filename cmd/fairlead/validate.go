package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/desired"
	"github.com/fairlead/fairlead/desired/compose"
	"github.com/fairlead/fairlead/desired/git"
	"github.com/fairlead/fairlead/desired/secrets"
	"github.com/fairlead/fairlead/reconciler"
)

func (c *cli) validateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate DIR…",
		Short: "Check directories before they are committed",
		Long: `Checks the instances in directories as they are now: each DIR is an instance, or
the root of a repository with instances below. It asks neither git nor a
container engine. Every problem is printed as file:line: field: problem (hint).

What is checked together is taken to be for one host: no two instances may claim
the same front host, container name or network name. For a fleet, check the
directories of each host by themselves.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return c.validate(args) },
	}
	c.outputFlag(cmd)
	return cmd
}

// validated is what a check found in one instance.
type validated struct {
	Dir      string            `json:"dir"`
	Name     string            `json:"name,omitempty"`
	OK       bool              `json:"ok"`
	Services []string          `json:"services,omitempty"`
	Networks int               `json:"networks,omitempty"`
	Volumes  int               `json:"volumes,omitempty"`
	Notes    []string          `json:"notes,omitempty"`
	Problems []desired.Problem `json:"problems,omitempty"`
}

func (c *cli) validate(dirs []string) error {
	var found []*validated
	var claimers []claimer
	for _, dir := range dirs {
		list, claims, err := c.validateDir(dir)
		if err != nil {
			return fmt.Errorf("validate %s: %w", dir, err)
		}
		found, claimers = append(found, list...), append(claimers, claims...)
	}
	checkClaims(claimers)
	var all []validated
	for _, v := range found {
		all = append(all, *v)
	}
	ok := true
	for _, v := range all {
		ok = ok && v.OK
	}
	done, err := c.structured(all)
	if err != nil {
		return err
	}
	if !done {
		c.printValidated(all)
	}
	if !ok {
		return exitWith(exitError1)
	}
	return nil
}

// validateDir checks the instances of one directory. Compose files may refer to
// what lies above their instance, so the tree is the repository's root when the
// directory is in one.
func (c *cli) validateDir(dir string) (all []*validated, claims []claimer, err error) {
	top, below, err := repositoryOf(dir)
	if err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	tree := root.FS()
	found, problems, err := instancesIn(tree, below, filepath.Base(top))
	if err != nil {
		return nil, nil, err
	}
	if len(problems) > 0 {
		all = append(all, &validated{Dir: dir, Problems: relocate(problems, below, dir)})
	}
	for _, at := range found {
		v, claim, err := validateOne(tree, at, filepath.Base(top))
		if err != nil {
			return nil, nil, err
		}
		v.Dir, v.Problems = shownAs(at, below, dir), relocate(v.Problems, below, dir)
		all = append(all, v)
		if v.OK {
			for i := range claim.claims { // while the tree is open
				claim.claims[i].file = shownAs(claim.claims[i].file, below, dir)
			}
			claim.found = v
			claims = append(claims, claim)
		}
	}
	return all, claims, nil
}

// repositoryOf returns the root of the repository around a directory, and the
// directory in it; without a repository the directory itself.
func repositoryOf(dir string) (top, below string, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", "", err
	}
	if abs, err = filepath.EvalSymlinks(abs); err != nil {
		return "", "", err
	}
	info, err := os.Stat(abs)
	if err != nil {
		return "", "", err
	}
	if !info.IsDir() {
		return "", "", errors.New("it is not a directory")
	}
	for up := abs; ; up = filepath.Dir(up) {
		if _, err := os.Stat(filepath.Join(up, ".git")); err == nil {
			rel, err := filepath.Rel(up, abs)
			return up, filepath.ToSlash(rel), err
		}
		if up == filepath.Dir(up) {
			return abs, ".", nil
		}
	}
}

// instancesIn lists the instances of a directory: itself, or those below it as
// in a repository's root.
func instancesIn(tree fs.FS, dir, rootName string) ([]string, desired.Problems, error) {
	var problems desired.Problems
	here, err := desired.Discover(tree, []string{dir})
	if len(here) > 0 || (err != nil && !errors.As(err, &problems)) {
		return here, nil, err
	}
	below, err := fs.Sub(tree, dir)
	if err != nil {
		return nil, nil, err
	}
	found, err := desired.Discover(below, nil)
	for i := range found {
		found[i] = path.Join(dir, found[i])
	}
	problems = nil
	if errors.As(err, &problems) {
		for i := range problems {
			problems[i].File = path.Join(dir, problems[i].File)
		}
		return found, problems, nil
	}
	return found, nil, err
}

func validateOne(tree fs.FS, dir, rootName string) (*validated, claimer, error) {
	spec, err := desired.Load(desired.Input{Tree: tree, Dir: dir, RootName: rootName, Compose: compose.Load, Secrets: secrets.Reader{}, AnyHost: true,
		Signers: git.CheckSigners, Private: defaultSettings().private(), Shared: defaultSettings().shared()})
	v := &validated{OK: err == nil}
	var problems desired.Problems
	if errors.As(err, &problems) {
		v.Name, _ = desired.NameOf(tree, dir, rootName)
		v.Problems = problems
		return v, claimer{}, nil
	}
	if err != nil {
		return v, claimer{}, err
	}
	v.Name, v.Services, v.Notes = spec.Name, spec.ServiceNames(), spec.Notes
	v.Networks, v.Volumes = len(spec.Networks), len(spec.Volumes)
	return v, claimer{name: spec.Name, claims: claimsOf(spec, tree, dir)}, nil
}

// shownAs is a path of the tree as the person named it.
func shownAs(at, below, dir string) string {
	rel, err := filepath.Rel(filepath.FromSlash(below), filepath.FromSlash(at))
	if err != nil {
		return at
	}
	return filepath.Join(dir, rel)
}

func relocate(problems []desired.Problem, below, dir string) []desired.Problem {
	out := make([]desired.Problem, len(problems))
	for i, p := range problems {
		p.File = shownAs(p.File, below, dir)
		out[i] = p
	}
	return out
}

func (c *cli) printValidated(all []validated) {
	p, wrong := c.paint(c.out), 0
	for _, v := range all {
		for _, problem := range v.Problems {
			wrong++
			fmt.Fprintln(c.out, problem.String())
		}
		if !v.OK {
			continue
		}
		line := fmt.Sprintf("%s: %s: %s", p.green("ok"), v.Name, reconciler.Count(len(v.Services), "service"))
		if v.Networks > 0 {
			line += ", " + reconciler.Count(v.Networks, "network")
		}
		if v.Volumes > 0 {
			line += ", " + reconciler.Count(v.Volumes, "volume")
		}
		if len(v.Notes) > 0 {
			line += "; " + reconciler.Count(len(v.Notes), "note")
		}
		fmt.Fprintln(c.out, line)
		for _, note := range v.Notes {
			fmt.Fprintln(c.out, "  "+p.dim("note: "+oneLine(note)))
		}
	}
	if wrong > 0 {
		fmt.Fprintln(c.out, reconciler.Count(wrong, "problem"))
	}
}
