-- Contexts of connections that have gone. Young ones stay: their connection may be newer than the list of threads.
CREATE DEFINER=`api_definer`@`localhost` PROCEDURE `sweep_contexts`()
    MODIFIES SQL DATA
BEGIN
  DECLARE v_id BIGINT UNSIGNED;
  DECLARE v_done BOOLEAN DEFAULT FALSE;
  DECLARE v_old CURSOR FOR
    SELECT c.connection_id FROM tenant_context c
    WHERE c.set_at < CONVERT_TZ(SYSDATE(6), @@session.time_zone, '+00:00') - INTERVAL 60 SECOND
      AND NOT EXISTS (SELECT 1 FROM performance_schema.threads t WHERE t.PROCESSLIST_ID = c.connection_id)
    LIMIT 1000;
  DECLARE CONTINUE HANDLER FOR NOT FOUND SET v_done = TRUE;
  SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE;
  OPEN v_old;
  sweep: LOOP
    FETCH v_old INTO v_id;
    IF v_done THEN LEAVE sweep; END IF;
    DELETE FROM tenant_context WHERE connection_id = v_id;
  END LOOP;
  CLOSE v_old;
END
