-- For a call that was rolled back: the first receipt if it is the identical call again, and then no failure.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `find_receipt`(INOUT p_fail CHAR(5), IN p_tenant BINARY(16), IN p_evt_id VARBINARY(255), IN p_table VARCHAR(64), IN p_action VARCHAR(16), IN p_key VARCHAR(255), IN p_version BIGINT UNSIGNED, IN p_scheme VARCHAR(80), IN p_after VARCHAR(64), IN p_sig VARBINARY(255), IN p_signer VARBINARY(255), OUT p_payload VARBINARY(4096))
    READS SQL DATA
BEGIN
  SELECT known.payload INTO p_payload FROM (
    SELECT q.payload FROM audit_pending q WHERE q.tenant_id = p_tenant AND q.evt_id = p_evt_id
    UNION ALL
    SELECT e.payload FROM audit_events e WHERE e.tenant_id = p_tenant AND e.evt_id = p_evt_id
  ) known LIMIT 1;
  IF p_payload IS NOT NULL THEN
    SET p_fail =
      IF(same_write(p_payload, p_table, p_action, p_key, p_version, p_scheme, p_after, p_sig, p_signer), NULL, '45W04');
  END IF;
END
