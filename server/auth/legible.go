package auth

import (
	"bytes"
	"encoding/json"
	"errors"
)

var errForeign = errors.New("there is no such value")

// Legible says whether a value of the people's bucket can be read: for a check of
// the file, before anybody is let in by what is in it. Path are the buckets that
// it is in. Who is somebody else than the key says is nobody.
func Legible(path []string, key, value []byte) error {
	switch {
	case len(path) == 0 || path[0] != string(rootBucket):
		return nil
	case len(path) == 1 && !bytes.Equal(key, closedKey):
		return errForeign
	case len(path) != 2:
		return nil
	}
	var id string
	var whole bool
	var err error
	switch path[1] {
	case string(usersBucket):
		var a account
		err = json.Unmarshal(value, &a)
		id, whole = a.ID, a.Email != "" && checkRole(a.Role) == nil
	case string(sessionsBucket):
		var x struct {
			Session
			Hash json.RawMessage `json:"hash"` // of a token, which is no session
		}
		err = json.Unmarshal(value, &x)
		id, whole = x.ID, x.User != "" && !x.Expires.IsZero() && x.Hash == nil
	case string(tokensBucket):
		var t tokenRecord
		err = json.Unmarshal(value, &t)
		id, whole = t.ID, t.User != "" && t.Hash != secretHash{}
	case string(auditBucket):
		var e Entry
		err = json.Unmarshal(value, &e)
		id, whole = string(seqKey(e.Seq)), true
	default:
		return nil
	}
	if err == nil && (!whole || id != string(key)) {
		err = errors.New("it is not what its key says")
	}
	return err
}

// Fills reports whether what is lost of a bucket may be taken from an older copy
// of the file. Sessions may not: one that was ended since would live again.
func Fills(path []string) bool {
	return len(path) < 2 || path[0] != string(rootBucket) || path[1] != string(sessionsBucket)
}
