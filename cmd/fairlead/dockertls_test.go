package main

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestDockerTLS(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	for name, tt := range map[string]struct {
		env  map[string]string
		dir  string
		says string
	}{
		"none":                     {map[string]string{"FAIRLEAD_DOCKER_HOST": "tcp://engine:2375"}, "", ""},
		"own setting":              {map[string]string{"FAIRLEAD_DOCKER_HOST": "tcp://engine:2376", "FAIRLEAD_DOCKER_TLS": "/etc/engine", "DOCKER_CERT_PATH": "/other"}, "/etc/engine", ""},
		"docker's path":            {map[string]string{"FAIRLEAD_DOCKER_HOST": "tcp://engine:2376", "DOCKER_CERT_PATH": "/etc/engine"}, "/etc/engine", ""},
		"docker's default":         {map[string]string{"FAIRLEAD_DOCKER_HOST": "tcp://engine:2376", "DOCKER_TLS_VERIFY": "1"}, filepath.Join(home, ".docker"), ""},
		"docker's, on a socket":    {map[string]string{"DOCKER_CERT_PATH": "/etc/engine", "DOCKER_TLS_VERIFY": "1"}, "", ""},
		"own setting, on a socket": {map[string]string{"FAIRLEAD_DOCKER_TLS": "/etc/engine"}, "", "dockerTLS: certificates are for a tcp:// engine"},
		"ssh":                      {map[string]string{"FAIRLEAD_DOCKER_HOST": "ssh://root@engine"}, "", "FAIRLEAD_DOCKER_HOST: is not supported; forward the engine's socket"},
	} {
		t.Run(name, func(t *testing.T) {
			c := &cli{getenv: func(k string) string { return tt.env[k] }, given: &given{}}
			s, err := c.settings()
			if tt.says == "" && (err != nil || s.DockerTLS != tt.dir) {
				t.Errorf("directory %q, %v, want %q", s.DockerTLS, err, tt.dir)
			}
			if tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
		})
	}
}
