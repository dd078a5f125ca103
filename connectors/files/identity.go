package files

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/fairlead/fairlead/certs/cloud"
	"github.com/fairlead/fairlead/connectors"
	"github.com/fairlead/fairlead/connectors/internal/rest"
	"github.com/fairlead/fairlead/desired"
)

const awsMetadata = "http://169.254.169.254"

var roleRegexp = regexp.MustCompile(`^[A-Za-z0-9+=,.@_-]{1,128}$`)

// identity is who asks AWS: the keys of the connector, those of the environment,
// or, at AWS alone, the role of the machine.
type identity struct {
	set      cloud.Keys
	env      func(string) (string, bool)
	http     *rest.Client
	metadata string
	roles    bool

	mu    sync.Mutex
	role  cloud.Keys
	until time.Time
}

func newIdentity(settings Settings, set desired.S3Access) (*identity, error) {
	base := strings.TrimRight(cmp.Or(settings.Endpoints.AWSMetadata, awsMetadata), "/")
	u, err := url.Parse(base)
	if err != nil || u.Hostname() == "" {
		return nil, errors.New("the address of AWS's metadata service does not parse")
	}
	client := rest.Only(u.Hostname())
	client.Tries = 2
	return &identity{set: cloud.Keys{ID: set.AccessKey, Secret: set.SecretKey}, env: settings.Env, http: client, metadata: base, roles: set.Endpoint == ""}, nil
}

// who names the identity for messages.
func (i *identity) who() string {
	if i.set.ID != "" {
		return "the access key " + rest.Short(i.set.ID)
	}
	if id, _ := i.env("AWS_ACCESS_KEY_ID"); id != "" {
		return "the access key of the daemon's environment"
	}
	return "the role of this machine"
}

func (i *identity) keys(ctx context.Context) (cloud.Keys, error) {
	if i.set.ID != "" {
		return i.set, nil
	}
	id, _ := i.env("AWS_ACCESS_KEY_ID")
	secret, _ := i.env("AWS_SECRET_ACCESS_KEY")
	if id != "" && secret != "" {
		session, _ := i.env("AWS_SESSION_TOKEN")
		return cloud.Keys{ID: id, Secret: secret, Session: session}, nil
	}
	if !i.roles {
		return cloud.Keys{}, connectors.WithHint(errors.New("there are no keys for s3.endpoint"), "Set s3.accessKey and s3.secretKey")
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.role.ID != "" && time.Until(i.until) > 5*time.Minute { // AWS gives new ones that long before the end
		return i.role, nil
	}
	keys, until, err := i.fromMachine(ctx)
	if err != nil {
		return keys, connectors.WithHint(fmt.Errorf("find who asks S3: %w", err), "Set s3.accessKey and s3.secretKey; or attach a role to this machine, and raise the hop limit of its metadata to 2 when this runs in a container")
	}
	i.role, i.until = keys, until
	return keys, nil
}

func (i *identity) fromMachine(ctx context.Context) (keys cloud.Keys, until time.Time, err error) {
	text, err := i.machine(ctx, "iam/security-credentials/")
	if err != nil {
		return keys, until, err
	}
	role, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	if role = strings.TrimSpace(role); !roleRegexp.MatchString(role) {
		return keys, until, errors.New("the machine has no role")
	}
	if text, err = i.machine(ctx, "iam/security-credentials/"+url.PathEscape(role)); err != nil {
		return keys, until, err
	}
	var got struct {
		Code, AccessKeyId, SecretAccessKey, Token string
		Expiration                                time.Time
	}
	if json.Unmarshal([]byte(text), &got) != nil || got.Code != "Success" || got.AccessKeyId == "" || got.SecretAccessKey == "" {
		return keys, until, fmt.Errorf("the metadata service gives no credentials for the role %s", role)
	}
	return cloud.Keys{ID: got.AccessKeyId, Secret: got.SecretAccessKey, Session: got.Token}, got.Expiration, nil
}

// machine asks the metadata service by its second version only: the first answers
// whoever can make this machine send a GET.
func (i *identity) machine(ctx context.Context, path string) (string, error) {
	session, err := i.tell(ctx, http.MethodPut, "/latest/api/token", "X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "300")
	if err != nil {
		return "", err
	}
	if session = strings.TrimSpace(session); session == "" || strings.ContainsFunc(session, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return "", errors.New("the metadata service gives no session")
	}
	return i.tell(ctx, http.MethodGet, "/latest/meta-data/"+path, "X-Aws-Ec2-Metadata-Token", session)
}

func (i *identity) tell(ctx context.Context, method, path, name, value string) (text string, err error) {
	err = i.http.Do(ctx, func(ctx context.Context) (*http.Request, error) {
		req, err := http.NewRequestWithContext(ctx, method, i.metadata+path, nil)
		if err == nil {
			req.Header.Set(name, value)
		}
		return req, err
	}, func(answer *http.Response) error {
		data, err := io.ReadAll(rest.Bounded(answer.Body, 64<<10))
		text = string(data)
		return err
	})
	return text, err
}
