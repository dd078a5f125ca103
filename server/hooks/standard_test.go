package hooks

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The example of the specification, and what is not it.
func TestStandardWebhooks(t *testing.T) {
	t.Parallel()
	const (
		key  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		body = `{"test": 2432232314}`
		good = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
	)
	at := time.Unix(1614265330, 0)
	own := []byte("0123456789abcdef0123456789abcdef")
	head := func(id, stamp, signature string) http.Header {
		return http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {signature}, "Content-Type": {"application/json"}}
	}
	const id, stamp = "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330"
	for what, tt := range map[string]struct {
		h      http.Header
		secret string
		now    time.Time
		ok     bool
	}{
		"the example":             {head(id, stamp, good), key, at, true},
		"one of two keys":         {head(id, stamp, "v1,"+base64.StdEncoding.EncodeToString(make([]byte, 32))+" "+good), key, at, true},
		"beside another kind":     {head(id, stamp, "v1a,x "+good), key, at, true},
		"another id":              {head("msg_x", stamp, good), key, at, false},
		"another time":            {head(id, "1614265331", good), key, at, false},
		"long ago":                {head(id, stamp, good), key, at.Add(time.Hour), false},
		"no time":                 {head(id, "", good), key, at, false},
		"cut short":               {head(id, stamp, good[:20]), key, at, false},
		"another key":             {head(id, stamp, good), string(own), at, false},
		"a key that is no base64": {head(id, stamp, good), "whsec_!!!!!!!!!!!!!!!!", at, false},
		"too many":                {head(id, stamp, strings.Repeat(good+" ", 9)), key, at, false},
	} {
		if err := Verify("gitlab", tt.h, nil, []byte(body), []byte(tt.secret), tt.now); (err == nil) != tt.ok {
			t.Errorf("%s: %v", what, err)
		}
		if err := CheckHeaders("gitlab", tt.h, nil); tt.ok && err != nil {
			t.Errorf("%s is turned away early: %v", what, err)
		}
		if Verify("github", tt.h, nil, []byte(body), []byte(tt.secret), tt.now) == nil {
			t.Errorf("%s: GitHub signs so", what)
		}
	}
	// A signature that is wrong is not made good by the token beside it.
	h := head(id, stamp, good)
	h.Set("X-Gitlab-Token", string(own))
	if Verify("gitlab", h, nil, []byte(body), own, at) == nil {
		t.Error("the weaker proof counts beside a wrong signature")
	}
	if SignatureOf("gitlab", head(id, stamp, good)) == "" {
		t.Error("a replay would not be known")
	}
}
