package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/desired"
)

func (c *cli) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:       "schema [instance|connector]",
		Short:     "Print the JSON Schema of instance.yaml, or of the file of a connector",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"instance", "connector"},
		RunE: func(_ *cobra.Command, args []string) error {
			make := desired.Schema
			if len(args) > 0 && args[0] == "connector" {
				make = desired.ConnectorSchema
			}
			schema, err := make()
			if err != nil {
				return err
			}
			_, err = c.out.Write(schema)
			return err
		},
	}
}
