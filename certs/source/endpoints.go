package source

import "strings"

// filled are the endpoints with the public ones in the place of empty ones.
func (e Endpoints) filled() Endpoints {
	for at, public := range map[*string]string{
		&e.GoogleMetadata: "http://169.254.169.254",
		&e.GoogleToken:    "https://oauth2.googleapis.com/token",
		&e.SecretManager:  "https://secretmanager.googleapis.com",
		&e.Storage:        "https://storage.googleapis.com",
		&e.AWSMetadata:    "http://169.254.169.254",
		&e.STS:            "https://sts.{region}.amazonaws.com",
		&e.S3:             "https://{bucket}.s3.{region}.amazonaws.com",
		&e.SecretsManager: "https://secretsmanager.{region}.amazonaws.com",
		&e.AzureMetadata:  "http://169.254.169.254",
		&e.AzureBlob:      "https://{account}.blob.core.windows.net",
		&e.KeyVault:       "https://{vault}.vault.azure.net",
	} {
		if *at == "" {
			*at = public
		}
		*at = strings.TrimSuffix(*at, "/")
	}
	return e
}

// inRegion fills in an endpoint of AWS; those of China have a domain of their own.
func inRegion(endpoint, region string) string {
	if strings.HasPrefix(region, "cn-") && strings.HasSuffix(endpoint, ".amazonaws.com") {
		endpoint += ".cn"
	}
	return fill(endpoint, "region", region)
}
