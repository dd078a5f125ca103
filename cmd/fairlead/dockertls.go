package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
)

// sshEngine is said of an engine at ssh://.
const sshEngine = "is not supported; forward the engine's socket by ssh -N -L /run/engine.sock:/var/run/docker.sock HOST, and give unix:///run/engine.sock"

func dockerTLSOption() option {
	return option{flag: "docker-tls", env: "FAIRLEAD_DOCKER_TLS", key: "dockerTLS", kind: "DIR",
		help: "directory with ca.pem, cert.pem and key.pem for a tcp:// engine with TLS (default: DOCKER_CERT_PATH, or ~/.docker with DOCKER_TLS_VERIFY)",
		set:  file(func(s *settings) *string { return &s.DockerTLS })}
}

// checkDockerTLS takes the directory from the variables of docker's own client
// where no setting names one. Those count for a tcp:// engine only: they may
// be set for another program. The engine is verified whatever they say.
func (c *cli) checkDockerTLS(s *settings) error {
	if !strings.HasPrefix(s.DockerHost, "tcp://") {
		if s.DockerTLS != "" {
			return errors.New("dockerTLS: certificates are for a tcp:// engine; remove it, or set dockerHost")
		}
		return nil
	}
	if s.DockerTLS != "" {
		return nil
	}
	dir := c.getenv("DOCKER_CERT_PATH")
	if dir == "" && c.getenv("DOCKER_TLS_VERIFY") != "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return errors.New("DOCKER_TLS_VERIFY: there is no home directory; set dockerTLS")
		}
		dir = filepath.Join(home, ".docker")
	}
	s.DockerTLS = dir
	return nil
}
