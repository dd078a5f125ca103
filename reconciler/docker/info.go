package docker

import (
	"context"

	"github.com/docker/docker/api/types"
	"github.com/docker/docker/api/types/system"
)

// Info is what a person wants to know of an engine.
type Info struct {
	Version    string `json:"version"`
	API        string `json:"api"` // negotiated
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	RootDir    string `json:"root_dir"`
	Containers int    `json:"containers"`
	Images     int    `json:"images"`
	CPUs       int    `json:"cpus"`
	Memory     int64  `json:"memory"` // bytes
}

// Info asks the engine about itself. It also serves as a ping: an engine that
// does not answer is an *Unreachable error.
func (e *Engine) Info(ctx context.Context) (Info, error) {
	api, err := e.version(ctx)
	if err != nil {
		return Info{}, err
	}
	var in system.Info
	if err := call(ctx, readTimeout, func(ctx context.Context) error {
		in, err = e.api().Info(ctx)
		return err
	}); err != nil {
		return Info{}, e.fail(err, "ask engine about itself")
	}
	return Info{
		Version: in.ServerVersion, API: api, OS: in.OperatingSystem, Arch: in.Architecture,
		RootDir: in.DockerRootDir, Containers: in.Containers, Images: in.Images, CPUs: in.NCPU, Memory: in.MemTotal,
	}, nil
}

// Platform is "os/arch" of the engine in Go's names, by which it chooses from
// images for several.
func (e *Engine) Platform(ctx context.Context) (string, error) {
	var v types.Version
	if err := call(ctx, readTimeout, func(ctx context.Context) (err error) {
		v, err = e.api().ServerVersion(ctx)
		return err
	}); err != nil {
		return "", e.fail(err, "ask engine for its platform")
	}
	return v.Os + "/" + v.Arch, nil
}
