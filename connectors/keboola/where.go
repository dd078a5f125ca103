package keboola

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// filter is one of the whereFilters of export-async; all have to hold.
type filter struct {
	Column   string   `json:"column"`
	Operator string   `json:"operator"`
	Values   []string `json:"values"`
	DataType string   `json:"dataType,omitempty"`
	Type     string   `json:"type,omitempty"` // TIME_STRING: the value is a time
}

// parseWhere reads the filters of a table: a JSON list of objects, or one object,
// in the form of the Storage API. Numbers are taken as values too.
func parseWhere(text string) ([]filter, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return nil, nil
	}
	if strings.HasPrefix(text, "{") {
		text = "[" + text + "]"
	}
	var form []struct {
		Column   string            `json:"column"`
		Operator string            `json:"operator"`
		Values   []json.RawMessage `json:"values"`
		DataType string            `json:"dataType"`
		Type     string            `json:"type"`
	}
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&form); err != nil {
		return nil, fmt.Errorf("where: not a list of {column, operator, values}: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("where: something follows the list")
	}
	out := make([]filter, 0, len(form))
	for i, f := range form {
		made := filter{Column: f.Column, Operator: f.Operator, DataType: f.DataType, Type: f.Type}
		for _, raw := range f.Values {
			text, err := scalar(raw)
			if err != nil {
				return nil, fmt.Errorf("where: filter %d: values: %w", i+1, err)
			}
			made.Values = append(made.Values, text)
		}
		if made.Operator == "" {
			made.Operator = "eq"
		}
		if err := made.check(); err != nil {
			return nil, fmt.Errorf("where: filter %d: %w", i+1, err)
		}
		out = append(out, made)
	}
	return out, nil
}

func scalar(raw json.RawMessage) (string, error) {
	var text string
	if json.Unmarshal(raw, &text) == nil && len(raw) > 0 && raw[0] == '"' {
		return text, nil
	}
	var n json.Number
	if json.Unmarshal(raw, &n) == nil && n != "" {
		return n.String(), nil
	}
	return "", errors.New("only texts and numbers can be compared with")
}

func (f filter) check() error {
	switch {
	case f.Column == "":
		return errors.New("column: is missing")
	case len(f.Values) == 0:
		return errors.New("values: are missing")
	case !slices.Contains([]string{"eq", "ne", "gt", "ge", "lt", "le"}, f.Operator):
		return fmt.Errorf("operator %q: must be eq, ne, gt, ge, lt or le", f.Operator)
	case len(f.Values) > 1 && f.Operator != "eq" && f.Operator != "ne":
		return fmt.Errorf("operator %s: takes one value", f.Operator)
	case !slices.Contains([]string{"", "DOUBLE", "BIGINT", "INTEGER", "DECIMAL", "REAL"}, f.DataType):
		return fmt.Errorf("dataType %q: must be INTEGER, BIGINT, DECIMAL, REAL or DOUBLE", f.DataType)
	case f.Type != "" && f.Type != "TIME_STRING":
		return fmt.Errorf("type %q: must be TIME_STRING", f.Type)
	}
	return nil
}
