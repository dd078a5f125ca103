package keboola

import (
	"bytes"
	"errors"
	"fmt"
)

// counter counts the rows of a CSV stream as RFC 4180 has them, and refuses one
// whose rows have not all the same number of fields or that ends inside quotes.
type counter struct {
	fields int // that each row has
	rows   int64

	at    place
	field int  // of the row that is being read, from 0
	begun bool // the row has a byte
}

type place int

const (
	fieldStart place = iota
	plain
	quoted
	closing // after a quote inside quotes
)

var errStructure = errors.New("CSV")

// Write takes the next bytes.
func (c *counter) Write(p []byte) (int, error) {
	for i := 0; i < len(p); i++ {
		if c.at == quoted {
			end := bytes.IndexByte(p[i:], '"')
			if end < 0 {
				return len(p), nil
			}
			i += end
			c.at = closing
			continue
		}
		if err := c.step(p[i]); err != nil {
			return i, err
		}
	}
	return len(p), nil
}

func (c *counter) step(b byte) error {
	switch {
	case b == '"' && c.at == plain:
		return c.wrong("a quote inside a field without quotes")
	case b == '"':
		c.at, c.begun = quoted, true // an opening one, or the second of a pair
	case b == ',':
		c.field++
		c.at, c.begun = fieldStart, true
	case b == '\n':
		return c.endRow()
	case c.at == closing && b != '\r':
		return c.wrong("text after a closing quote")
	case c.at == fieldStart && b != '\r':
		c.at, c.begun = plain, true
	}
	return nil
}

func (c *counter) endRow() error {
	if c.field+1 != c.fields {
		return c.wrong(fmt.Sprintf("%d fields instead of %d", c.field+1, c.fields))
	}
	c.rows++
	c.field, c.at, c.begun = 0, fieldStart, false
	return nil
}

// Close ends the stream; a last row without a line's end is one.
func (c *counter) Close() error {
	if c.at == quoted {
		return c.wrong("the end inside quotes: it is cut off")
	}
	if !c.begun {
		return nil
	}
	return c.endRow()
}

func (c *counter) wrong(what string) error {
	return fmt.Errorf("%w: row %d: %s", errStructure, c.rows+1, what)
}
