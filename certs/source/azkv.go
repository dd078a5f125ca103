package source

import (
	"context"
	"net/http"
	"path"
	"regexp"
	"strings"
)

var (
	vaultNameRegexp = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{1,22}[A-Za-z0-9]$`)
	kvNameRegexp    = regexp.MustCompile(`^[A-Za-z0-9-]{1,127}(/[A-Za-z0-9]{1,64})?$`)
)

func checkAzKV(r *Ref) error {
	if !vaultNameRegexp.MatchString(r.place) || !kvNameRegexp.MatchString(r.path) {
		return invalid("it names no vault and secret; write azkv://VAULT/SECRET[/VERSION]")
	}
	return nil
}

// fetchAzKV reads a secret of Azure Key Vault. A certificate of the vault is a
// secret of the same name, with chain and key in one: each field takes its own.
func fetchAzKV(ctx context.Context, j *job) (Blob, error) {
	const who = "Key Vault"
	endpoint := fill(j.opts.Endpoints.KeyVault, "vault", j.ref.place)
	resource := resourceOf(j.opts.Endpoints.KeyVault, "https://vault.azure.net")
	a, c, err := j.azureGet(ctx, who, endpoint, "/secrets/"+j.ref.path+"?api-version=7.4", resource, http.Header{}, 0)
	b := Blob{Date: a.date}
	if err != nil {
		return b, err
	}
	if a.status != http.StatusOK {
		return b, j.answered(who, a, azureSays(a), "give the role Key Vault Secrets User on "+j.ref.place+" to "+c.who)
	}
	var got struct {
		Value       string `json:"value"`
		ID          string `json:"id"`
		ContentType string `json:"contentType"`
	}
	if err := a.decode(who, &got); err != nil {
		return b, err
	}
	if strings.EqualFold(got.ContentType, "application/x-pkcs12") {
		return b, fail(ErrWrongKind, "it is a certificate in PKCS#12; set the content type of its policy to application/x-pem-file and renew it")
	}
	b.Version, b.Data = Version(path.Base(got.ID)), []byte(got.Value)
	if strings.EqualFold(got.ContentType, "application/x-pem-file") {
		b.Data = onlyBlocks(j.use.Field, b.Data)
	}
	return b, nil
}
