-- True where a sealed or queued event says exactly what this call says. Without a digest its signature stands for it.
CREATE DEFINER=`api_definer`@`localhost` FUNCTION `same_write`(p_payload VARBINARY(4096), p_table VARCHAR(64), p_action VARCHAR(16), p_key VARCHAR(255), p_version BIGINT UNSIGNED, p_scheme VARCHAR(80), p_after VARCHAR(64), p_sig VARBINARY(255), p_signer VARBINARY(255)) RETURNS tinyint(1)
    NO SQL
    DETERMINISTIC
RETURN LOCATE(
  CONCAT(',"table":"', p_table, '","action":"', p_action, '","key":', JSON_QUOTE(p_key) COLLATE utf8mb4_0900_bin, ',"ver":', p_version,
    ',"wver":1,"scheme":"', p_scheme, '","before":'), CONVERT(p_payload USING utf8mb4)) > 0
  AND LOCATE(
  CONCAT(IF(p_after IS NULL, '"', CONCAT(',"after":"', p_after, '"')), ',"sig":"', REPLACE(TO_BASE64(p_sig), '\n', ''), '","signer":"', LOWER(HEX(p_signer)), '","data":null}'),
  CONVERT(p_payload USING utf8mb4)) > 0
