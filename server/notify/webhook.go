package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/fairlead/fairlead/desired"
)

// sendTimeout bounds one try to deliver a notice.
const sendTimeout = 30 * time.Second

// The headers of a webhook.
const (
	headerSignature = "X-Fairlead-Signature"
	headerTimestamp = "X-Fairlead-Timestamp"
	headerDelivery  = "X-Fairlead-Delivery"
	headerKind      = "X-Fairlead-Event"
)

// Sign is the signature of a webhook's body: HMAC-SHA256 over the time of the
// message, as in its header, a dot and the body.
func Sign(secret, timestamp string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamp + "."))
	mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// later is an error of a receiver that says when it wants to be asked again.
type later struct {
	error
	after time.Duration
}

func (l later) Unwrap() error { return l.error }

// payload is the body of a webhook.
type payload struct {
	Version  int    `json:"version"`
	Delivery string `json:"delivery"`
	Text     string `json:"text"`
	Notice
}

// postWebhook delivers a notice to a webhook, signed where there is a secret.
func postWebhook(ctx context.Context, client *http.Client, spec desired.NotifySpec, q queued, agent string) error {
	body, err := json.Marshal(payload{1, q.ID, strings.TrimSpace(q.Notice.Title + "\n" + text(q.Notice, spec.Template)), q.Notice})
	if err != nil {
		return fmt.Errorf("write notice: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimPrefix(spec.URL, "generic+"), bytes.NewReader(body))
	if err != nil {
		return errors.New("make request: the URL does not parse")
	}
	now := strconv.FormatInt(time.Now().Unix(), 10)
	for name, value := range map[string]string{"Content-Type": "application/json", "User-Agent": agent, headerKind: string(q.Notice.Kind),
		headerDelivery: q.ID, headerTimestamp: now} {
		req.Header.Set(name, value)
	}
	if spec.Secret != "" {
		req.Header.Set(headerSignature, Sign(spec.Secret, now, body))
	}
	answer, err := client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer answer.Body.Close()
	_, _ = io.CopyN(io.Discard, answer.Body, 64<<10) // so that the connection can be used again
	return judge(answer)
}

// judge says what an answer means: only 2xx is taken.
func judge(answer *http.Response) error {
	if answer.StatusCode/100 == 2 {
		return nil
	}
	err := fmt.Errorf("the receiver answered %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	if answer.StatusCode/100 == 3 {
		err = fmt.Errorf("the receiver answered %d: redirects are not followed; name the place itself", answer.StatusCode)
	}
	if after := retryAfter(answer.Header.Get("Retry-After"), time.Now()); after > 0 {
		return later{err, after}
	}
	return err
}

// maxLater bounds what a receiver may ask for.
const maxLater = time.Hour

// retryAfter reads the header as RFC 9110 section 10.2.3 has it.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return min(max(0, time.Duration(min(seconds, int(maxLater/time.Second)))*time.Second), maxLater)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now)), maxLater)
	}
	return 0
}

// withoutURL leaves the URL out of an error of net/http: it may hold a token.
func withoutURL(err error) error {
	if err == nil {
		return nil
	}
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return errors.New("the receiver did not answer in time")
		}
		return u.Err
	}
	return err
}
