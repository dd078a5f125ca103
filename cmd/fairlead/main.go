// Command fairlead keeps the containers of a host as a git repository says.
// This package holds the flags, the wiring, the signals and what people see on
// their terminal: one small file a subcommand. What is decided is decided in
// the packages that it puts together; nothing imports it.
package main

import (
	"os"

	"github.com/fairlead/fairlead/reconciler/docker"
)

// version is set by the linker (make build).
var version = "dev"

func main() {
	if len(os.Args) == 3 && os.Args[1] == childCommand {
		os.Exit(child(os.Args[2]))
	}
	c := &cli{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv, version: version, newEngine: newDocker}
	os.Exit(c.main(os.Args[1:]))
}

func newDocker(o engineOptions) (engine, error) {
	return docker.New(docker.Options{Host: o.host, CertDir: o.certs, Owner: o.owner, Log: o.log, Memory: o.memory, Keep: o.keep})
}
