package desired

// Certificate is where a certificate comes from and who gets it.
type Certificate struct {
	Domains      []string  `json:"domains" need:"true" is:"domain" unique:"true" doc:"The names and addresses that the certificate is for."`
	Fullchain    string    `json:"fullchain,omitempty" is:"certRef" default:"self-signed, without acme" doc:"Where the chain comes from."`
	Privkey      string    `json:"privkey,omitempty" is:"keyRef" default:"a key that is made on the host and never leaves it" doc:"Where the key comes from."`
	CSR          *CSR      `json:"csr,omitempty" doc:"The signing request that is written for the key of the host."`
	Every        *Duration `json:"every,omitempty" is:"interval" default:"24h; 1m when all is on the host" doc:"How often fullchain and privkey are asked."`
	Fallback     string    `json:"fallback,omitempty" is:"fallback" default:"nothing" doc:"What is served until the real certificate is there for the first time."`
	CA           string    `json:"ca,omitempty" is:"file" default:"the system's and the host's" doc:"A file with certificates in PEM that are trusted besides: as roots of the chain, for https and for ACME directories."`
	Pins         []string  `json:"pins,omitempty" is:"pin" unique:"true" doc:"Public keys, one of which a server that is asked by https must have in its chain."`
	Bearer       string    `json:"bearer,omitempty" is:"secretName" doc:"The secret that is sent by https as bearer token: its name, without ${secret:}."`
	KeyOverHTTPS bool      `json:"keyOverHTTPS,omitempty" default:"false" doc:"Lets privkey be an https URL. It needs bearer too."`
	ACME         *ACME     `json:"acme,omitempty" doc:"Get the certificate by ACME instead of fetching it."`
	Deliver      []Deliver `json:"deliver,omitempty" doc:"Directories of the host that the pair is written to, for other servers."`
	Reload       []Reload  `json:"reload,omitempty" doc:"Other servers that are told when the pair changed, and then asked whether they serve it."`
}

// CSR is what a certificate signing request asks for.
type CSR struct {
	Subject string `json:"subject,omitempty" is:"subject" default:"the first of domains as CN" doc:"The subject, as openssl req -subj takes it."`
	Key     string `json:"key,omitempty" is:"keyKind" default:"rsa2048" doc:"The kind of key. One that is there already stays."`
}

// ACME is how a certificate is got by ACME, from one authority or from the
// first of Issuers that gives it.
type ACME struct {
	Email      string        `json:"email,omitempty" is:"email" doc:"The address that an authority may write to."`
	Directory  string        `json:"directory,omitempty" is:"directory" default:"https://acme-v02.api.letsencrypt.org/directory" doc:"The authority: the URL of its directory."`
	Profile    string        `json:"profile,omitempty" is:"profileName" default:"the authority's" doc:"A profile that the directory lists."`
	EAB        *EAB          `json:"eab,omitempty" doc:"Binds the account to a customer that the authority knows otherwise."`
	PreferRoot string        `json:"preferRoot,omitempty" is:"line" default:"the first chain" doc:"Among several chains the one whose root has this common name."`
	Issuers    []ACMEIssuing `json:"issuers,omitempty" doc:"Several authorities, tried in this order, instead of the keys above. They take email from above."`
	Challenges []string      `json:"challenges,omitempty" is:"challenge" unique:"true" default:"http-01 and tls-alpn-01, or dns-01 with dns" doc:"How the names may be proved."`
	DNS        *DNS          `json:"dns,omitempty" doc:"How records are set for dns-01."`
	Key        string        `json:"key,omitempty" is:"acmeKey" default:"p256" doc:"The kind of key. Each certificate has a new one."`
}

// ACMEIssuing is one of several authorities.
type ACMEIssuing struct {
	Directory  string `json:"directory" need:"true" is:"directory" doc:"The URL of the directory."`
	Email      string `json:"email,omitempty" is:"email" default:"acme.email" doc:"The address that this authority may write to."`
	Profile    string `json:"profile,omitempty" is:"profileName" default:"the authority's" doc:"A profile that the directory lists."`
	EAB        *EAB   `json:"eab,omitempty" doc:"Binds the account to a customer that the authority knows otherwise."`
	PreferRoot string `json:"preferRoot,omitempty" is:"line" default:"the first chain" doc:"Among several chains the one whose root has this common name."`
}

// EAB is an external account binding.
type EAB struct {
	KeyID  string `json:"keyID" need:"true" is:"keyID" doc:"The key ID that the authority gave."`
	MACKey string `json:"macKey" need:"true" is:"macKey" doc:"The MAC key that came with it, in base64url. A secret: ${secret:NAME}."`
}

// DNS says how records are set for dns-01.
type DNS struct {
	Provider  string            `json:"provider" need:"true" is:"dnsProvider" doc:"Who serves the zone."`
	With      map[string]string `json:"with,omitempty" keys:"setting" is:"settingValue" doc:"The provider's settings. The secrets among them are written ${secret:NAME}."`
	Resolvers []string          `json:"resolvers,omitempty" is:"resolver" unique:"true" default:"the host's" doc:"Name servers that are asked for the zone and whether the record is there."`
	Delegate  string            `json:"delegate,omitempty" is:"record" default:"_acme-challenge.NAME" doc:"The record that is set instead; _acme-challenge.NAME must be an alias of it."`
	TTL       *Duration         `json:"ttl,omitempty" is:"recordTTL" default:"the provider's, at least 1m" doc:"How long the record may be cached."`
	Delay     *Duration         `json:"delay,omitempty" is:"grace" default:"0s" doc:"A pause before the first look whether the record is there."`
	Timeout   *Duration         `json:"timeout,omitempty" is:"appear" default:"2m" doc:"How long the record may take to appear."`
}

// Deliver is a directory that another server reads the pair from.
type Deliver struct {
	Dir      string   `json:"dir" need:"true" is:"deliverDir" doc:"The directory. The one above it must be there."`
	Owner    string   `json:"owner,omitempty" is:"owner" default:"the daemon's" doc:"UID:GID of the files."`
	Mode     string   `json:"mode,omitempty" is:"keyMode" default:"0600" doc:"The mode of files that hold the key, in quotes."`
	Formats  []string `json:"formats,omitempty" is:"pairFormat" unique:"true" default:"pem" doc:"pem is fullchain.pem and privkey.pem, combined is combined.pem, p12 is keystore.p12."`
	Password string   `json:"password,omitempty" is:"password" doc:"The password of keystore.p12. A secret: ${secret:NAME}."`
}

// Reload is another server that is told when the pair changed.
type Reload struct {
	Service string    `json:"service,omitempty" is:"service" doc:"The service that is signalled, and asked for the proof."`
	Signal  string    `json:"signal,omitempty" is:"signal" doc:"The signal that has it read its certificate again."`
	Caddy   string    `json:"caddy,omitempty" is:"adminURL" doc:"The admin API of a Caddy, which is told instead of a signal."`
	Prove   string    `json:"prove,omitempty" is:"prove" default:":443 of the service" doc:"Where a handshake shows what is served: HOST:PORT, or :PORT of the containers of service."`
	Within  *Duration `json:"within,omitempty" is:"within" default:"30s" doc:"How long the new pair may take to be served."`
}
