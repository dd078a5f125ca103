package desired

import "time"

// Instance is instance.yaml, as written. Each field's tags are all that is
// known about its key: the reader, the JSON Schema and the table in
// docs/configuration.md come from them.
//
//	need     the key must be there
//	is       the syntax of its text (or of each element's), a name in syntaxes
//	default  what holds when the key is absent
//	doc      what it means, for people
type Instance struct {
	APIVersion   string                 `json:"apiVersion" need:"true" is:"apiVersion" doc:"The version of this format."`
	Name         string                 `json:"name" need:"true" is:"name" doc:"The instance's name: the compose project, and a part of every name that the engine sees."`
	Suspend      *Suspend               `json:"suspend,omitempty" doc:"Stops every action on the instance, healing included. What runs keeps running."`
	AllowEmpty   bool                   `json:"allowEmpty,omitempty" default:"false" doc:"Permits a revision without any service, which removes every container of the instance."`
	Release      *Release               `json:"release,omitempty" doc:"Which image the services of the application run."`
	Upgrade      *Upgrade               `json:"upgrade,omitempty" doc:"When a new release is applied, and what happens when it fails."`
	Compose      *ComposeFiles          `json:"compose,omitempty" doc:"Which compose files are read, and how."`
	Health       *Health                `json:"health,omitempty" doc:"When an applied revision counts as good."`
	Smoke        []SmokeStep            `json:"smoke,omitempty" doc:"Requests made after the health check. A failure rolls back."`
	Certificates map[string]Certificate `json:"certificates,omitempty" keys:"name" doc:"TLS certificates, by name."`
	Front        []Route                `json:"front,omitempty" doc:"What the built-in TLS proxy serves."`
	Policy       *Policy                `json:"policy,omitempty" doc:"What a revision may ask for."`
	Notify       []Notify               `json:"notify,omitempty" is:"notify" doc:"Where notices go: URLs, or maps with the keys below."`
	Retain       *Retain                `json:"retain,omitempty" doc:"How much of the past is kept."`
}

// Release says which image the application's services run.
type Release struct {
	Image   string `json:"image,omitempty" is:"repository" doc:"An image repository, without tag. Each service whose image is of this repository follows the release."`
	Channel string `json:"channel,omitempty" is:"tag" doc:"A floating tag to follow."`
	Version string `json:"version,omitempty" is:"version" doc:"A pinned version: the tag stable-VERSION. Wins over the channel."`
	Digest  string `json:"digest,omitempty" is:"digest" doc:"A pinned digest. Wins over the version."`
}

// Upgrade says when a new release is applied, and what follows a failure.
type Upgrade struct {
	Every    *Duration `json:"every,omitempty" is:"interval" default:"5m" doc:"How often the registry is asked what the channel is."`
	Window   *Window   `json:"window,omitempty" default:"at any time" doc:"When an upgrade may start: days, hours and time zone."`
	MinAge   *Duration `json:"minAge,omitempty" is:"span" default:"0s" doc:"How old a release must be before it is taken."`
	Busy     *Busy     `json:"busy,omitempty" doc:"A question to the application that holds an upgrade back."`
	Locks    []string  `json:"locks,omitempty" is:"lock" unique:"true" doc:"Files on which nobody may hold a lock any more before a stopped container's successor is started: SERVICE:PATH, the path as the container sees it, in one of its volumes or binds."`
	Rollback string    `json:"rollback,omitempty" is:"rollback" default:"auto" doc:"What follows a revision that fails: auto brings the last good one back; notify and off leave the failed one in place."`
}

// Busy is a question to the application: hold the upgrade while Field is true.
type Busy struct {
	URL      string    `json:"url" need:"true" is:"httpURL" doc:"Asked with GET before an upgrade. The host is a service of the instance, or any other host."`
	Field    string    `json:"field" need:"true" is:"field" doc:"The field of the JSON answer that is true while busy."`
	MaxDefer *Duration `json:"maxDefer,omitempty" is:"patience" default:"2h" doc:"The longest time that an upgrade is held back. Then it is made although the application is busy."`
}

// ComposeFiles says which compose files are read, and how.
type ComposeFiles struct {
	Files    []string          `json:"files,omitempty" is:"file" unique:"true" default:"compose.yaml and its override" doc:"The compose files, later ones over earlier ones. Paths are relative to this directory and stay inside the repository."`
	Profiles []string          `json:"profiles,omitempty" is:"profile" unique:"true" doc:"The active compose profiles."`
	Env      map[string]string `json:"env,omitempty" keys:"env" is:"envValue" doc:"Variables for the compose files. Stronger than .env."`
}

// Health says when an applied revision counts as good.
type Health struct {
	Service string    `json:"service,omitempty" is:"service" doc:"The service that answers the HTTP check and the smoke steps. May be left out when there is only one."`
	Path    string    `json:"path,omitempty" is:"urlPath" doc:"The path of the HTTP check: GET, answered with 2xx or 3xx within the timeout."`
	Port    int       `json:"port,omitempty" is:"port" doc:"The port in the container, of the HTTP check and the smoke steps."`
	Timeout *Duration `json:"timeout,omitempty" is:"wait" default:"120s" doc:"The time within which all changed services together must be healthy."`
	Bake    *Duration `json:"bake,omitempty" is:"span" default:"2s" doc:"How long they must then stay healthy."`
}

// SmokeStep is one request of the smoke test: exactly one method.
type SmokeStep struct {
	Name    string            `json:"name" need:"true" is:"title" doc:"What the step is called in reports."`
	Get     string            `json:"get,omitempty" is:"request" doc:"GET this path."`
	Post    string            `json:"post,omitempty" is:"request" doc:"POST to this path."`
	Put     string            `json:"put,omitempty" is:"request" doc:"PUT to this path."`
	Patch   string            `json:"patch,omitempty" is:"request" doc:"PATCH this path."`
	Delete  string            `json:"delete,omitempty" is:"request" doc:"DELETE this path."`
	Headers map[string]string `json:"headers,omitempty" keys:"header" is:"headerValue" doc:"Headers of the request."`
	Body    any               `json:"body,omitempty" doc:"The body: text is sent as it is, anything else as JSON."`
	Bearer  string            `json:"bearer,omitempty" is:"variable" doc:"The saved variable that is sent as bearer token."`
	Save    map[string]string `json:"save,omitempty" keys:"variable" is:"field" doc:"Variables to keep for later steps, and the fields of the answer that they come from."`
	Expect  *Expect           `json:"expect,omitempty" doc:"What the answer must be."`
	Wait    *Duration         `json:"wait,omitempty" is:"pause" default:"0s" doc:"A pause before the step."`
	Timeout *Duration         `json:"timeout,omitempty" is:"limit" default:"30s" doc:"How long one try may take."`
	Retries *int              `json:"retries,omitempty" is:"retries" default:"3" doc:"How often the step is tried again after an infrastructure fault: no connection, no answer in time, 502, 503 or 504. A wrong answer is not tried again. A POST or PATCH that may have arrived is made again only when this key is there."`
}

// Expect is what the answer to a smoke step must be.
type Expect struct {
	Status   int            `json:"status,omitempty" is:"status" default:"any 2xx" doc:"The status code."`
	StatusIn []int          `json:"statusIn,omitempty" is:"status" doc:"The status codes that are all right, when there are several."`
	JSON     map[string]any `json:"json,omitempty" keys:"field" doc:"Fields of the answer: a value that must be equal, or one or more of {not: VALUE}, {minItems: N}, {exists: true or false}, {matches: REGEXP}."`
}

// Route is one host that the built-in proxy serves.
type Route struct {
	Host         string    `json:"host" need:"true" is:"host" doc:"The name that clients ask for."`
	Certificate  string    `json:"certificate,omitempty" is:"name" default:"self-signed" doc:"The certificate, a name under certificates."`
	To           string    `json:"to" need:"true" is:"target" doc:"The service and port that requests go to."`
	HSTS         int       `json:"hsts,omitempty" is:"seconds" default:"no header" doc:"max-age of Strict-Transport-Security, in seconds."`
	RedirectHTTP bool      `json:"redirectHTTP,omitempty" default:"false" doc:"Sends plain HTTP to HTTPS."`
	Drain        *Duration `json:"drain,omitempty" is:"grace" default:"10s" doc:"How long requests in flight may take when the target is replaced."`
	Hold         *Duration `json:"hold,omitempty" is:"grace" default:"30s" doc:"How long new requests wait while there is no target."`
}

// Policy bounds what a revision may ask for. Each key bounds only when it is
// there.
type Policy struct {
	RequireSignedCommits bool     `json:"requireSignedCommits,omitempty" default:"false" doc:"Refuses a commit without a good signature of an allowed signer."`
	AllowedSigners       string   `json:"allowedSigners,omitempty" is:"signersFile" doc:"The file of allowed signers, as ssh-keygen reads it."`
	Images               []string `json:"images,omitempty" is:"imageGlob" unique:"true" empty:"true" default:"any" doc:"The repositories whose images may run. * is a part of a name, /** at the end is anything below. [] permits none."`
	Privileged           *bool    `json:"privileged,omitempty" default:"true" doc:"false refuses containers that are, or may become, root on the host."`
	HostMounts           []string `json:"hostMounts,omitempty" is:"hostPath" unique:"true" empty:"true" default:"any" doc:"The directories of the host in which what is mounted must lie. [] permits none."`
}

// Retain says how much of the past is kept.
type Retain struct {
	Generations  int `json:"generations,omitempty" is:"count" default:"10" doc:"Applied generations kept ready for rollback."`
	Certificates int `json:"certificates,omitempty" is:"count" default:"3" doc:"Previous pairs of each certificate kept ready for rollback."`
}

// What holds when instance.yaml does not say.
const (
	DefaultHealthTimeout     = 120 * time.Second
	DefaultBake              = 2 * time.Second
	DefaultRetainGenerations = 10
	// DefaultEvery is the time between two questions to the registry.
	DefaultEvery = 5 * time.Minute
	// DefaultMaxDefer is how long a busy application holds an upgrade back.
	DefaultMaxDefer = 2 * time.Hour
	// DefaultDrain is what requests in flight get to end when their target is
	// replaced.
	DefaultDrain = 10 * time.Second
	// DefaultHold is how long a new request waits for a target.
	DefaultHold = 30 * time.Second
	// DefaultStepTimeout bounds one try of a smoke step, DefaultStepRetries
	// the tries after the first.
	DefaultStepTimeout = 30 * time.Second
	DefaultStepRetries = 3

	// DefaultRetainCertificates is how many pairs are kept beside the live one.
	DefaultRetainCertificates = 3
	// DefaultFetch is the time between two questions to a source of
	// certificates, DefaultLook to one that is on this host.
	DefaultFetch = 24 * time.Hour
	DefaultLook  = time.Minute
	// DefaultDirectory is Let's Encrypt's.
	DefaultDirectory = "https://acme-v02.api.letsencrypt.org/directory"
	// DefaultWithin is how long another server may take to serve a new pair.
	DefaultWithin = 30 * time.Second
)
