package source

import (
	"context"
	"crypto/md5" // what the service sends against damage, not against people
	"encoding/base64"
	"net/http"
	"net/url"
	"regexp"
	"strings"
)

var (
	accountRegexp   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerRegexp = regexp.MustCompile(`^(\$web|\$root|[a-z0-9](-?[a-z0-9]){2,62})$`)
)

func checkAzBlob(r *Ref) error {
	container, blob, _ := strings.Cut(r.path, "/")
	switch {
	case !accountRegexp.MatchString(r.place):
		return invalid("its account is not one of Azure Storage; write azblob://ACCOUNT/CONTAINER/BLOB")
	case !containerRegexp.MatchString(container) || blob == "" || len(blob) > 1024 || strings.Contains(blob, "//") || strings.HasPrefix(blob, "/"):
		return invalid("it names no container and blob; write azblob://ACCOUNT/CONTAINER/BLOB")
	}
	return nil
}

// fetchAzBlob reads a blob of Azure Storage.
func fetchAzBlob(ctx context.Context, j *job) (Blob, error) {
	const who = "Azure Storage"
	h := http.Header{"X-Ms-Version": {"2021-12-02"}}
	if j.prev != "" {
		h.Set("If-None-Match", j.prev)
	}
	path := "/" + escapePath(j.ref.path)
	if v := j.ref.query["version"]; v != "" {
		path += "?versionid=" + url.QueryEscape(v)
	}
	endpoint := fill(j.opts.Endpoints.AzureBlob, "account", j.ref.place)
	a, c, err := j.azureGet(ctx, who, endpoint, path, "https://storage.azure.com/", h, MaxSize)
	b := Blob{Date: a.date}
	switch {
	case err != nil:
		return b, err
	case a.status == http.StatusNotModified && j.prev != "":
		b.NotModified = true
		return b, nil
	case a.status != http.StatusOK:
		container, _, _ := strings.Cut(j.ref.path, "/")
		return b, j.answered(who, a, azureSays(a), "give the role Storage Blob Data Reader on the container "+container+" of "+j.ref.place+" to "+c.who)
	}
	if sum, err := base64.StdEncoding.DecodeString(a.header.Get("Content-Md5")); err == nil && len(sum) == md5.Size && md5.Sum(a.body) != [md5.Size]byte(sum) {
		return b, fail(ErrUnreachable, "the blob was damaged on its way: its MD5 is another")
	}
	b.Data, b.Version = a.body, Version(etag(a.header))
	return b, nil
}
