package main

import (
	"fmt"
	"path/filepath"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/server"
)

// versions are this program's and the daemon's, which may differ after an
// upgrade until the daemon is restarted.
type versions struct {
	Program server.Version  `json:"program"`
	Daemon  *server.Version `json:"daemon,omitempty"`
}

func (c *cli) versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of this program, and of the daemon if one runs",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			v := versions{Program: server.Version{Version: c.version, Go: runtime.Version()}}
			if s, err := c.settings(); err == nil {
				client := server.NewClient(filepath.Join(s.Data, "fairlead.sock"), "")
				defer client.Close()
				if d, err := client.Version(cmd.Context()); err == nil {
					v.Daemon = &d
				}
			}
			if done, err := c.structured(v); done || err != nil {
				return err
			}
			fmt.Fprintf(c.out, "fairlead %s (%s %s/%s)\n", c.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			if v.Daemon != nil {
				fmt.Fprintf(c.out, "daemon   %s (process %d, since %s)\n", v.Daemon.Version, v.Daemon.PID, v.Daemon.Started.Local().Format("2006-01-02 15:04:05"))
			}
			return nil
		},
	}
	c.outputFlag(cmd)
	return cmd
}
