package main

import (
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/desired"
)

func (c *cli) schemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of instance.yaml",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			schema, err := desired.Schema()
			if err != nil {
				return err
			}
			_, err = c.out.Write(schema)
			return err
		},
	}
}
