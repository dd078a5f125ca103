package hooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// What Standard Webhooks signs: webhook-id.webhook-timestamp.body, by a key that
// people write as whsec_ and base64.
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
const (
	standardID        = "Webhook-Id"
	standardTimestamp = "Webhook-Timestamp"
	standardSignature = "Webhook-Signature"
	standardKey       = "whsec_"
	// maxSignatures bounds those that a message may have: a key that is being
	// replaced makes two.
	maxSignatures = 4
)

// standardOf are the signatures of a message; none where one is no signature.
func standardOf(h http.Header) (macs [][]byte) {
	for i, text := range strings.Fields(h.Get(standardSignature)) {
		digits, is := strings.CutPrefix(text, "v1,")
		if !is {
			continue // of another algorithm
		}
		mac, err := base64.StdEncoding.DecodeString(digits)
		if err != nil || len(mac) != sha256.Size || i >= maxSignatures {
			return nil
		}
		macs = append(macs, mac)
	}
	return macs
}

// verifyStandard holds a message against the secret: the key that it writes as
// whsec_, or else its own bytes.
func verifyStandard(h http.Header, macs [][]byte, body, secret []byte, now time.Time) error {
	key := secret
	if text, is := strings.CutPrefix(string(secret), standardKey); is {
		var err error
		if key, err = base64.StdEncoding.DecodeString(text); err != nil || len(key) < MinSecret {
			return fmt.Errorf("the secret of webhooks is not %s and the base64 of %d bytes or more", standardKey, MinSecret)
		}
	}
	at, err := strconv.ParseInt(h.Get(standardTimestamp), 10, 64)
	if err != nil || now.Sub(time.Unix(at, 0)).Abs() > oldest {
		return fmt.Errorf("the time of the message is not within %s: %w", oldest, ErrDenied)
	}
	want := hmac.New(sha256.New, key)
	want.Write([]byte(h.Get(standardID) + "." + h.Get(standardTimestamp) + "."))
	want.Write(body)
	sum, right := want.Sum(nil), false
	for _, mac := range macs {
		right = hmac.Equal(mac, sum) || right
	}
	if !right {
		return ErrDenied
	}
	return nil
}
