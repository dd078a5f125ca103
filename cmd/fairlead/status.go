package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/server"
)

func (c *cli) statusCommand() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Show how the instances are",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b, err := c.connect(cmd.Context(), toRead)
			if err != nil {
				return err
			}
			defer b.Close()
			if watch {
				return c.watchStatus(cmd.Context(), b, asName(args))
			}
			text, err := c.status(cmd.Context(), b, asName(args))
			fmt.Fprint(c.out, text)
			return err
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show it again whenever it changes")
	c.outputFlag(cmd)
	return cmd
}

// status returns what is printed, so that a watch can tell a change.
func (c *cli) status(ctx context.Context, b backend, name string) (string, error) {
	text := &strings.Builder{}
	page := *c
	page.out = text
	p, now := c.paint(c.out), time.Now()
	if name == "" {
		o, err := b.Overview(ctx)
		if err != nil {
			return "", err
		}
		if done, err := page.structured(o); done || err != nil {
			return text.String(), err
		}
		width, _ := terminal(c.out)
		printOverview(text, p, o, now, width)
		return text.String(), nil
	}
	s, err := b.Status(ctx, name)
	if err != nil {
		return "", err
	}
	if done, err := page.structured(s); done || err != nil {
		return text.String(), err
	}
	source, err := b.Source(ctx)
	if err != nil {
		source = server.SourceInfo{}
	}
	detail{text, p, now}.print(s, source)
	return text.String(), nil
}

// watchEvery is how often a watch looks.
const watchEvery = time.Second

func (c *cli) watchStatus(ctx context.Context, b backend, name string) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	_, screen := terminal(c.out)
	last := ""
	for {
		text, err := c.status(ctx, b, name)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case screen && c.format == "":
			fmt.Fprint(c.out, "\x1b[H\x1b[2J"+text)
		case text != last:
			fmt.Fprint(c.out, text)
		}
		last = text
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
