package keboola

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"strings"
	"time"
)

var (
	s3Region = regexp.MustCompile(`^[a-z]{2}(-[a-z]+)+-[0-9]+$`)
	s3Bucket = regexp.MustCompile(`^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$`)
)

// fromS3 signs a question for an object with AWS Signature Version 4 and the
// temporary credentials of the file.
func (f exported) fromS3(ctx context.Context, bucket, key string, now time.Time) (*http.Request, error) {
	c := f.Credentials
	if bucket != f.S3Path.Bucket || c.AccessKeyID == "" || c.SecretAccessKey == "" {
		return nil, errors.New("a slice in a bucket of S3 that the file has no access to")
	}
	if !s3Region.MatchString(f.Region) || !s3Bucket.MatchString(bucket) {
		return nil, errors.New("a slice in a bucket or region that S3 does not have")
	}
	host, path := bucket+".s3."+f.Region+".amazonaws.com", key
	if strings.Contains(bucket, ".") { // no certificate is for two labels
		host, path = "s3."+f.Region+".amazonaws.com", bucket+"/"+key
	}
	req, err := object(ctx, host, path, "")
	if err != nil {
		return nil, err
	}
	stamp := now.UTC().Format("20060102T150405Z")
	names := "host;x-amz-content-sha256;x-amz-date"
	lines := "host:" + host + "\nx-amz-content-sha256:UNSIGNED-PAYLOAD\nx-amz-date:" + stamp + "\n"
	req.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD")
	req.Header.Set("X-Amz-Date", stamp)
	if c.SessionToken != "" {
		req.Header.Set("X-Amz-Security-Token", c.SessionToken)
		names += ";x-amz-security-token"
		lines += "x-amz-security-token:" + c.SessionToken + "\n"
	}
	canonical := sha256.Sum256([]byte("GET\n/" + escape(path) + "\n\n" + lines + "\n" + names + "\nUNSIGNED-PAYLOAD"))
	scope := stamp[:8] + "/" + f.Region + "/s3/aws4_request"
	key256 := []byte("AWS4" + c.SecretAccessKey)
	for _, part := range []string{stamp[:8], f.Region, "s3", "aws4_request"} {
		key256 = mac(key256, part)
	}
	signature := hex.EncodeToString(mac(key256, "AWS4-HMAC-SHA256\n"+stamp+"\n"+scope+"\n"+hex.EncodeToString(canonical[:])))
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+c.AccessKeyID+"/"+scope+", SignedHeaders="+names+", Signature="+signature)
	return req, nil
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
